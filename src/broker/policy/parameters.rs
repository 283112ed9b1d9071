//! Parameters of virtual hosts and of the whole broker: kept, listed, and understood by others.

use std::collections::BTreeMap;

use crate::broker::journal::NoteKind;
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Name};
use crate::wire::amqp::field_table::Value;

use super::matching::NAME_SIZE_MAX;
use super::{Invalid, OwnedValue};

/// By component and name.
pub(in crate::broker) type Parameters = BTreeMap<(Name, Name), OwnedValue>;
/// By name.
pub(in crate::broker) type GlobalParameters = BTreeMap<Name, OwnedValue>;

/// A setting of a component in one virtual host (RabbitMQ: runtime parameters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub component: Name,
    pub name: Name,
    pub value: OwnedValue,
}

impl Core {
    /// Adds a parameter, or replaces the one of that component and name. Which components there are
    /// is not checked: files from brokers with other plugins keep theirs.
    ///
    /// # Errors
    /// Policies, which have a door of their own; names that are too long.
    pub fn set_parameter(
        &mut self,
        virtual_host: VirtualHostKey,
        component: &[u8],
        name: &[u8],
        value: Value<'_>,
    ) -> Result<(), Invalid> {
        if matches!(component, b"policy" | b"operator_policy") {
            let text = "policies may not be set using this method";
            return Err(Invalid(text.to_owned()));
        }
        check_names(&[component, name])?;
        let value = OwnedValue::from(value);
        self.note_parameter(virtual_host, component, name, Some(&value));
        if self.tells_events() {
            self.tell_parameter(Some(virtual_host), component, name, Some(&value));
        }
        self.virtual_hosts[virtual_host]
            .parameters
            .insert((component.into(), name.into()), value);
        Ok(())
    }

    /// Takes a parameter away; whether there was one.
    pub fn clear_parameter(
        &mut self,
        virtual_host: VirtualHostKey,
        component: &[u8],
        name: &[u8],
    ) -> bool {
        let parameters = &mut self.virtual_hosts[virtual_host].parameters;
        let existed = parameters
            .remove(&(component.into(), name.into()))
            .is_some();
        if existed {
            self.note_parameter(virtual_host, component, name, None);
            if self.tells_events() {
                self.tell_parameter(Some(virtual_host), component, name, None);
            }
        }
        existed
    }

    /// All parameters of a virtual host, by component and name.
    pub fn parameters(&self, virtual_host: VirtualHostKey) -> Vec<Parameter> {
        let parameters = self.virtual_hosts[virtual_host].parameters.iter();
        parameters
            .map(|((component, name), value)| Parameter {
                component: component.clone(),
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }

    pub fn parameter(
        &self,
        virtual_host: VirtualHostKey,
        component: &[u8],
        name: &[u8],
    ) -> Option<&OwnedValue> {
        let parameters = &self.virtual_hosts[virtual_host].parameters;
        parameters.get(&(component.into(), name.into()))
    }

    /// Adds a global parameter, as `cluster_name`, or replaces the one of that name.
    ///
    /// # Errors
    /// The name is too long.
    pub fn set_global_parameter(&mut self, name: &[u8], value: Value<'_>) -> Result<(), Invalid> {
        check_names(&[name])?;
        let value = OwnedValue::from(value);
        self.note(NoteKind::GlobalParameter, &[name], Some(value.as_bytes()));
        if self.tells_events() {
            self.tell_parameter(None, b"global", name, Some(&value));
        }
        self.global_parameters.insert(name.into(), value);
        Ok(())
    }

    /// Takes a global parameter away; whether there was one.
    pub fn clear_global_parameter(&mut self, name: &[u8]) -> bool {
        let existed = self.global_parameters.remove(name).is_some();
        if existed {
            self.note(NoteKind::GlobalParameter, &[name], None);
            if self.tells_events() {
                self.tell_parameter(None, b"global", name, None);
            }
        }
        existed
    }

    /// All global parameters, by name.
    pub fn global_parameters(&self) -> impl ExactSizeIterator<Item = (&Name, &OwnedValue)> {
        self.global_parameters.iter()
    }

    pub fn global_parameter(&self, name: &[u8]) -> Option<&OwnedValue> {
        self.global_parameters.get(name)
    }

    fn note_parameter(
        &mut self,
        virtual_host: VirtualHostKey,
        component: &[u8],
        name: &[u8],
        value: Option<&OwnedValue>,
    ) {
        let virtual_host = self.virtual_hosts[virtual_host].name.clone();
        let key: [&[u8]; 3] = [&virtual_host, component, name];
        self.note(NoteKind::Parameter, &key, value.map(OwnedValue::as_bytes));
    }
}

fn check_names(names: &[&[u8]]) -> Result<(), Invalid> {
    if names.iter().all(|name| name.len() <= NAME_SIZE_MAX) {
        return Ok(());
    }
    Err(Invalid(format!(
        "names of parameters have at most {NAME_SIZE_MAX} bytes"
    )))
}
