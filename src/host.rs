//! What the management API asks of the program: its configuration and its log.

use std::sync::{Mutex, PoisonError};

use leveret::Config;
use leveret::config::Category;
use leveret::management::host::Host;
use log::LevelFilter;

use crate::logging;

/// The program, as the broker's management sees it.
pub struct Program {
    /// As printed by `--print-config`.
    configuration: String,
    files: Vec<String>,
    /// As it is logged by now.
    config: Mutex<Config>,
}

impl Program {
    pub fn new(configuration: String, files: Vec<String>, config: Config) -> Program {
        Program {
            configuration,
            files,
            config: Mutex::new(config),
        }
    }

    fn change(&self, by: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = config.clone();
        by(&mut wanted);
        logging::change(&wanted).map_err(|error| error.to_string())?;
        *config = wanted;
        Ok(())
    }
}

impl Host for Program {
    fn configuration(&self) -> String {
        self.configuration.clone()
    }

    fn configuration_files(&self) -> Vec<String> {
        self.files.clone()
    }

    fn log_files(&self) -> Vec<String> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let file = config.log.file.iter().map(|name| {
            let folder = config.log.dir.as_deref().or(config.data_dir.as_deref());
            let path = folder.map_or_else(|| name.clone(), |folder| folder.join(name));
            path.display().to_string()
        });
        let console = config.log.console.unwrap_or(config.log.file.is_none());
        let console = console.then(|| "<stderr>".to_owned());
        file.chain(console).collect()
    }

    /// For everything: each destination's own level, too.
    fn set_log_level(&self, category: Option<&str>, level: &str) -> Result<(), String> {
        let known = known_level(level);
        let level = known.ok_or_else(|| format!("log level '{level}' is not known"))?;
        let Some(name) = category.filter(|name| *name != "global") else {
            return self.change(|config| {
                config.log.levels = Default::default();
                config.log.console_level = Some(level);
                config.log.file_level = Some(level);
            });
        };
        let category = Category::ALL.into_iter().find(|c| c.name() == name);
        let category = category.ok_or_else(|| format!("log category '{name}' is not known"))?;
        self.change(|config| config.log.levels[category as usize] = Some(level))
    }

    fn reopen_logs(&self) -> Result<(), String> {
        self.change(|_| {})
    }
}

/// RabbitMQ's names; ours are fewer.
fn known_level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "none" => LevelFilter::Off,
        "error" | "critical" | "alert" | "emergency" => LevelFilter::Error,
        "warning" => LevelFilter::Warn,
        "notice" | "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        "trace" => LevelFilter::Trace,
        _ => return None,
    })
}
