//! Covers for the entries of /proc that [`fetchml_policies::masks`] names.

use fetchml_policies::masks::{DIRECTORIES, FILES};
use std::ffi::CString;

/// One entry of /proc to cover.
#[derive(Debug)]
pub(crate) struct ProcMask {
    /// Path below the root.
    pub(crate) path: CString,
    /// Covered by an empty directory rather than by /dev/null.
    pub(crate) directory: bool,
}

/// The masks for the entries that this kernel has.
pub(crate) fn masks_of_this_kernel() -> Vec<ProcMask> {
    let all = FILES.iter().map(|f| (f, false)).chain(DIRECTORIES.iter().map(|d| (d, true)));
    all.filter(|(name, _)| std::path::Path::new("/proc").join(name).exists())
        .filter_map(|(name, directory)| {
            Some(ProcMask { path: CString::new(format!("proc/{name}")).ok()?, directory })
        })
        .collect()
}
