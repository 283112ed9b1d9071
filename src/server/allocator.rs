//! Memory that was freed, given back to the operating system.
//!
//! glibc keeps what is free between things that are not, for the next who wants some. The process then
//! looks larger than it is, and a memory alarm would last after everything was consumed. Other
//! allocators give it back by themselves.

/// Gives back what can be. It may take some milliseconds, in which other threads wait if they allocate:
/// for when memory is low, and never from the loop.
pub(super) fn give_back_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    malloc_trim(0);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
// SAFETY: the signature is that of malloc_trim(3). It takes a number, may be called at any time from any
// thread, and changes nothing that is allocated.
#[allow(unsafe_code, reason = "nobody offers a safe one")]
unsafe extern "C" {
    safe fn malloc_trim(keep_bytes: usize) -> std::ffi::c_int;
}
