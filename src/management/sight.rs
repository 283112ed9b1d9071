//! What a user sees: everything, or what is in its own virtual hosts; connections and channels of its own
//! only. And how a whole list is put together from pieces.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Refusal;
use super::call::{Call, Right};
use crate::broker::survey::Page;
use crate::protocol::Hub;

/// Cheap to take along to the loop.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Virtual hosts; `None`: all.
    hosts: Option<Arc<BTreeSet<Vec<u8>>>>,
    /// Whose connections and channels; `None`: everybody's.
    user: Option<Arc<str>>,
}

impl Sight {
    /// Of who asks.
    pub fn of(call: &Call<'_>) -> Result<Sight, Refusal> {
        if call.has(Right::Monitoring) {
            return Ok(Sight {
                hosts: None,
                user: None,
            });
        }
        let hosts = call.visible_virtual_hosts()?.into_iter();
        Ok(Sight {
            hosts: Some(Arc::new(hosts.map(String::into_bytes).collect())),
            user: Some(call.user.name.as_str().into()),
        })
    }

    /// The same, of one virtual host.
    ///
    /// # Errors
    /// It is not there, or the user may not look into it.
    pub fn into_host(call: &Call<'_>, host: &str) -> Result<Sight, Refusal> {
        call.enter(host)?;
        let only = BTreeSet::from([host.as_bytes().to_vec()]);
        Ok(Sight {
            hosts: Some(Arc::new(only)),
            ..Sight::of(call)?
        })
    }

    pub fn sees(&self, host: &[u8]) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
    }

    /// Something that is a user's.
    pub fn sees_of(&self, user: &[u8], host: &[u8]) -> bool {
        self.sees(host) && self.user.as_ref().is_none_or(|own| own.as_bytes() == user)
    }

    /// Whether it is more than what one user sees.
    pub fn whose(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// A whole list, a piece at a time, so that the loop never waits long.
///
/// # Errors
/// The broker has stopped.
pub fn all<T, P>(
    call: &Call<'_>,
    first: P,
    piece: impl Fn(&mut Hub, P) -> Page<T, P> + Clone + Send + 'static,
) -> Result<Vec<T>, Refusal>
where
    T: Send + 'static,
    P: Send + 'static,
{
    let mut items = Vec::new();
    let mut next = Some(first);
    while let Some(place) = next {
        let piece = piece.clone();
        let page = call.ask(move |hub| piece(hub, place))?;
        items.extend(page.items);
        next = page.next;
    }
    Ok(items)
}
