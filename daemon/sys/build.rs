//! Tells the build of a program that links this crate whether the start of a
//! program is in it, in which case the C library's must not be.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_STD").is_none() {
        println!("cargo::metadata=own_start=1");
    }
}
