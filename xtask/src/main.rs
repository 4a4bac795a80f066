//! The thin binary; the program is the library.

fn main() -> std::process::ExitCode {
    xtask_images::main_with(|app| app.called("xtask-images"))
}
