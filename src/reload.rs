//! SIGHUP: the configuration is read again. What may change does, the rest is named, and a bad file
//! changes nothing.

use leveret::Config;
use leveret::config::Effect;
use leveret::server::Reload;

use crate::logging;
use crate::settings::Settings;

/// What the server is to do when it is told to reload. `running` is what it runs with.
pub fn reloading(settings: Settings, mut running: Config) -> Reload {
    Box::new(move || {
        let wanted = load(&settings)?;
        let mut next = running.clone();
        next.reload(&wanted);
        // The file of the log may have been moved away even if nothing has changed.
        if let Err(error) = logging::change(&next) {
            log::error!("{error}; the log stays as it was");
            next.log = running.log.clone();
        }
        report(&running, &wanted);
        running = next.clone();
        Some(next)
    })
}

fn load(settings: &Settings) -> Option<Config> {
    match settings.load() {
        Ok(effective) => {
            for remark in effective.remarks {
                log::log!(remark.level, "{}", remark.text);
            }
            Some(effective.config)
        }
        Err(refusal) => {
            for mistake in refusal.mistakes {
                log::error!("{mistake}");
            }
            log::error!("the configuration stays as it was");
            None
        }
    }
}

fn report(running: &Config, wanted: &Config) {
    let changes = running.changes(wanted);
    if changes.is_empty() {
        log::info!("configuration read again: nothing has changed");
    }
    for change in changes {
        let (key, from, to) = (change.key, or_nothing(&change.from), or_nothing(&change.to));
        match change.effect {
            Effect::Reload => log::info!("configuration: {key} was {from}, is {to} now"),
            Effect::Restart => {
                log::warn!("configuration: {key} stays {from}, {to} needs a restart");
            }
        }
    }
}

fn or_nothing(value: &str) -> &str {
    if value.is_empty() { "not set" } else { value }
}
