//! For tests: an allocator that notices what a child of [`spawn`](crate::clone::spawn)
//! allocates, which shares its parent's memory and may not.
//!
//! The child may hold up nobody by it in a test, but in a supervisor of several threads
//! another thread can hold the allocator's lock at the moment of the clone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// The allocator of a test program: `#[global_allocator] static A: Sentinel = Sentinel;`
#[derive(Debug)]
pub struct Sentinel;

/// Of the first process that allocated.
static OWNER: AtomicI32 = AtomicI32::new(0);
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// How often another process than the first allocated or freed in this memory.
pub fn foreign_calls() -> usize {
    FOREIGN.load(Ordering::SeqCst)
}

fn look() {
    // The kernel is asked each time: a child that shares memory shares whatever a
    // library would remember.
    let caller = rustix::process::getpid().as_raw_nonzero().get();
    let first = OWNER.compare_exchange(0, caller, Ordering::SeqCst, Ordering::SeqCst);
    if first.is_err_and(|owner| owner != caller) {
        FOREIGN.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: everything is the system's allocator's, with the arguments it was given.
unsafe impl GlobalAlloc for Sentinel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        look();
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}
