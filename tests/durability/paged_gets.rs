//! paged_gets
