//! How many bytes were read, for tests: whatever a text is, that goes by its length.

#[cfg(test)]
std::thread_local! {
    static READ: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// So many bytes were read behind a place at which something may begin.
#[cfg(test)]
pub(crate) fn read(bytes: usize) {
    READ.with(|read| read.set(read.get() + bytes as u64));
}

#[cfg(not(test))]
#[inline]
pub(crate) const fn read(_bytes: usize) {}

/// What `work` read.
#[cfg(test)]
pub(crate) fn of(work: impl FnOnce()) -> u64 {
    READ.with(|read| read.set(0));
    work();
    READ.with(core::cell::Cell::get)
}
