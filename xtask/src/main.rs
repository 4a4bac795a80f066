//! The thin binary; the program is the library.

fn main() -> std::process::ExitCode {
    xtask::main()
}
