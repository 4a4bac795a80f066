//! The thin binary; the program is the library.

fn main() {}
