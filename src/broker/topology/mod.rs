//! Exchanges, queues and bindings: what is declared, what refers to what, and what goes with what.
//!
//! Every change moves `Core::generation`, by which routes that were remembered are known to be stale.

pub mod binding;
pub mod exchange;
pub mod queue;

use std::collections::HashSet;
use std::rc::Rc;

use foldhash::fast::FixedState;

use binding::Binding;

/// Each binding is shared by the sets of its source and its destination. Their order never shows.
pub type BindingSet = HashSet<Rc<Binding>, FixedState>;
