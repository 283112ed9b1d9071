//! clean_stop
