//! The supervisor of FetchML; everything is in the library.

fn main() -> std::process::ExitCode {
    fetchmld::serve::main()
}
