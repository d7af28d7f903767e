//! How the agent is linked: as a static program at an address that the kernel
//! chooses, without the C library's files of start and end.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // In a build of the whole workspace the agent shares its libraries with programs
    // that need the standard library, and begins as they do. No such agent is tested
    // or installed.
    if std::env::var_os("DEP_FETCHML_SYS_OWN_START").is_some() {
        for argument in ["-nostartfiles", "-static-pie"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
