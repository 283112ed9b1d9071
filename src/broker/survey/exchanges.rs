//! Exchanges.

use super::{Page, PolicySurvey, shown, walk};
use crate::broker::topology::exchange::{Exchange, ExchangeKey};
use crate::broker::virtual_host::VirtualHostKey;
use crate::broker::{Core, Error};
use crate::wire::amqp::field_table::OwnedTable;

/// An exchange, as management shows it.
#[derive(Clone, Debug)]
pub struct ExchangeSurvey {
    /// Names it among all exchanges that there ever were.
    pub id: u64,
    pub name: String,
    pub virtual_host: String,
    pub kind: &'static str,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: OwnedTable,
    pub policies: PolicySurvey,
    pub published_in: u64,
    pub published_out: u64,
}

impl Core {
    /// Exchanges of virtual hosts that are wanted, by name.
    pub fn survey_exchanges(
        &self,
        from: usize,
        max: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Page<ExchangeSurvey> {
        walk(&self.exchanges, from, max, |key, exchange| {
            let host = &self.virtual_hosts[exchange.virtual_host].name;
            wanted(host).then(|| self.survey_of_exchange(key, exchange))
        })
    }

    /// One exchange; the empty name is the default exchange's.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn survey_exchange(
        &self,
        host: VirtualHostKey,
        name: &[u8],
    ) -> Result<ExchangeSurvey, Error> {
        let key = self.exchange(host, name)?;
        Ok(self.survey_of_exchange(key, &self.exchanges[key]))
    }

    fn survey_of_exchange(&self, key: ExchangeKey, exchange: &Exchange) -> ExchangeSurvey {
        ExchangeSurvey {
            id: key.to_bits(),
            name: shown(&exchange.name),
            virtual_host: shown(&self.virtual_hosts[exchange.virtual_host].name),
            kind: exchange.router.type_name(),
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments: exchange.arguments.clone(),
            policies: PolicySurvey::of(&exchange.policies),
            published_in: exchange.counters.published_in.get(),
            published_out: exchange.counters.published_out.get(),
        }
    }
}
