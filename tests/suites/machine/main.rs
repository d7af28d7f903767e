//! The package on machines of its own, each with the kernel of its Debian. One
//! boot for all checks of a kernel, because the processor is emulated.

#![allow(missing_docs)]

mod limits;
mod older_kernel;
