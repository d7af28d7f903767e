//! Memory for a program of one thread that has no C library.
//!
//! Small blocks have a size that is a power of two, and each size a list of those
//! that are free: the program takes what it needed at once of each size, however
//! long it runs. Large ones are mappings of their own, which begin as zeros that take
//! no memory, and go back to the kernel.
//!
//! What is given back is wiped: of a secret that passed through, only what the program
//! still holds is in its memory.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Smallest block, and what each is aligned to.
const UNIT_BYTES: usize = 16;
/// 16 bytes to 16 KiB.
const SIZES: usize = 11;
const LARGEST_SMALL_BYTES: usize = UNIT_BYTES << (SIZES - 1);
const PAGE_BYTES: usize = 4096;
/// What is asked of the kernel at once for small blocks.
const PIECE_BYTES: usize = 64 * 1024;

/// The memory of a program; nobody else may use it at the same time.
pub(crate) struct Heap(UnsafeCell<Blocks>);

// SAFETY: a program that begins without the C library has one thread, and the child
// of clone::spawn, which shares its memory, does not allocate.
unsafe impl Sync for Heap {}

struct Blocks {
    /// First free block of each size. It begins with the address of the next.
    free: [*mut u8; SIZES],
    /// What was never given away.
    fresh: *mut u8,
    fresh_bytes: usize,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(Blocks {
            free: [null_mut(); SIZES],
            fresh: null_mut(),
            fresh_bytes: 0,
        }))
    }
}

/// What a block of so many bytes really has.
fn room(layout: Layout) -> Option<Room> {
    let bytes = layout.size();
    if layout.align() > PAGE_BYTES {
        None
    } else if layout.align() > UNIT_BYTES || bytes > LARGEST_SMALL_BYTES {
        bytes.checked_next_multiple_of(PAGE_BYTES).map(Room::Pages)
    } else {
        let units = bytes.div_ceil(UNIT_BYTES).next_power_of_two();
        Some(Room::Small(units.trailing_zeros() as usize))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Room {
    /// Index of the size.
    Small(usize),
    /// So many bytes, whole pages.
    Pages(usize),
}

fn pages(bytes: usize) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh anonymous mapping touches no existing memory.
    let made = unsafe { mmap_anonymous(null_mut(), bytes, protection, MapFlags::PRIVATE) };
    made.map_or(null_mut(), <*mut _>::cast)
}

/// Overwrites what is used no more. Of assembly the compiler cannot think that nobody
/// will look at what it writes.
fn wipe(block: *mut u8, bytes: usize) {
    // SAFETY: the callers have a block of at least so many bytes.
    unsafe { crate::memory::fill(block, 0, bytes) };
}

impl Blocks {
    fn take(&mut self, size: usize) -> *mut u8 {
        let bytes = UNIT_BYTES << size;
        let Some(first) = self.free.get_mut(size) else { return null_mut() };
        if !first.is_null() {
            let block = *first;
            // SAFETY: a free block is ours, aligned, and begins with such an address.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        if self.fresh_bytes < bytes {
            let piece = pages(PIECE_BYTES);
            if piece.is_null() {
                return piece;
            }
            (self.fresh, self.fresh_bytes) = (piece, PIECE_BYTES);
        }
        let block = self.fresh;
        // SAFETY: so many bytes are left of this piece.
        self.fresh = unsafe { block.add(bytes) };
        self.fresh_bytes -= bytes;
        block
    }

    /// Takes back a block, of which so many bytes were used.
    fn give_back(&mut self, block: *mut u8, used: usize, size: usize) {
        let Some(first) = self.free.get_mut(size) else { return };
        wipe(block, used);
        // SAFETY: nobody uses this block any more, and it has room for an address.
        unsafe { block.cast::<*mut u8>().write(*first) };
        *first = block;
    }
}

// SAFETY: blocks are disjoint parts of mappings that stay, at least as long as
// `room` says and aligned to 16 bytes, or mappings of their own.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match room(layout) {
            // SAFETY: nobody else has a reference: there is one thread, and no function
            // that has one calls out.
            Some(Room::Small(size)) => unsafe { &mut *self.0.get() }.take(size),
            Some(Room::Pages(bytes)) => pages(bytes),
            None => null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() && matches!(room(layout), Some(Room::Small(_))) {
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match room(layout) {
            Some(Room::Small(size)) => {
                // SAFETY: as in alloc.
                let blocks = unsafe { &mut *self.0.get() };
                blocks.give_back(block, layout.size(), size);
            }
            Some(Room::Pages(bytes)) => {
                // SAFETY: the mapping is the block's alone.
                let _ = unsafe { munmap(block.cast(), bytes) };
            }
            None => {}
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller says that this makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if room(layout) == room(wanted) {
            wipe(block.wrapping_add(bytes), layout.size().saturating_sub(bytes));
            return block;
        }
        // SAFETY: as the caller says.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both have so many bytes, and a new block overlaps no other.
            unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(bytes)) };
            // SAFETY: the caller gives it up.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).expect("a layout")
    }

    /// Mappings of this process.
    fn mapped_bytes() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages = text.split_whitespace().next().and_then(|w| w.parse::<usize>().ok());
        pages.expect("a number") * PAGE_BYTES
    }

    #[test]
    fn blocks_that_are_held_do_not_overlap_and_keep_what_is_in_them() {
        let heap = Heap::new();
        let mut held: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut random = 1u32;
        for turn in 0..5000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (at, bytes) = (random >> 8, 1 + (random >> 16) as usize % 40_000);
            let (mark, zeroed) = (turn as u8, random & 1 << 12 == 0);
            if held.len() < 100 {
                let block = if zeroed {
                    // SAFETY: the size is not zero.
                    unsafe { heap.alloc_zeroed(layout(bytes)) }
                } else {
                    // SAFETY: as above.
                    unsafe { heap.alloc(layout(bytes)) }
                };
                assert_eq!(block.addr() % UNIT_BYTES, 0);
                // SAFETY: nobody else has the block.
                let slice = unsafe { std::slice::from_raw_parts_mut(block, bytes) };
                assert!(!zeroed || slice.iter().all(|b| *b == 0), "{bytes}");
                slice.fill(mark);
                held.push((block, bytes, mark));
                continue;
            }
            let (block, had, mark) = held.swap_remove(at as usize % 100);
            // SAFETY: it came from this heap with this layout.
            let block = unsafe { heap.realloc(block, layout(had), bytes) };
            // SAFETY: nobody else has the block.
            let slice = unsafe { std::slice::from_raw_parts(block, had.min(bytes)) };
            assert!(slice.iter().all(|b| *b == mark), "{had} to {bytes}");
            // SAFETY: as above.
            unsafe { heap.dealloc(block, layout(bytes)) };
        }
    }

    #[test]
    fn what_is_given_back_is_used_again() {
        let heap = Heap::new();
        let cycle = || {
            for bytes in [1, 100, 5000, LARGEST_SMALL_BYTES, 300_000] {
                // SAFETY: the size is not zero.
                let block = unsafe { heap.alloc(layout(bytes)) };
                // SAFETY: it came from this heap with this layout.
                let grown = unsafe { heap.realloc(block, layout(bytes), 2 * bytes) };
                // SAFETY: as above.
                unsafe { heap.dealloc(grown, layout(2 * bytes)) };
            }
        };
        cycle();
        let before = mapped_bytes();
        (0..1000).for_each(|_| cycle());
        // Other tests of this process may run beside it.
        assert!(mapped_bytes() < before + (32 << 20), "it grew");
    }

    #[test]
    fn nothing_stays_of_what_is_given_back() {
        const USED: usize = 100;
        let heap = Heap::new();
        // SAFETY: the size is not zero.
        let block = unsafe { heap.alloc(layout(USED)) };
        // SAFETY: nobody else has the block.
        unsafe { block.write_bytes(0xaa, USED) };
        // SAFETY: it came from this heap with this layout.
        let same = unsafe { heap.realloc(block, layout(USED), USED - 10) };
        assert_eq!(same, block, "it is shortened where it is");
        // SAFETY: as above.
        unsafe { heap.dealloc(block, layout(USED - 10)) };
        // SAFETY: the memory is still the heap's, and no other thread has this heap.
        let left = unsafe { std::slice::from_raw_parts(block, USED) };
        // It begins with the address of the next.
        let left = &left[size_of::<*mut u8>()..];
        assert!(left.iter().all(|byte| *byte == 0), "{left:?}");
    }

    #[test]
    fn alignment_is_kept_and_what_cannot_be_had_is_null() {
        let heap = Heap::new();
        let aligned = |bytes, align| Layout::from_size_align(bytes, align).expect("a layout");
        for align in [32, 64, 4096] {
            // SAFETY: the size is not zero.
            let block = unsafe { heap.alloc(aligned(24, align)) };
            assert!(!block.is_null() && block.addr() % align == 0);
            // SAFETY: it came from this heap with this layout.
            unsafe { heap.dealloc(block, aligned(24, align)) };
        }
        for layout in [aligned(24, 8192), aligned(1 << 60, 8)] {
            // SAFETY: the size is not zero.
            assert!(unsafe { heap.alloc(layout) }.is_null());
        }
    }
}
