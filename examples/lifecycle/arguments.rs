//! What the user asks for on the command line.

use std::path::PathBuf;

/// The usage, for whoever asks for something else.
pub(crate) const USAGE: &str =
    "usage: lifecycle [--data PATH --target COLUMN] [--seed NUMBER] [--store PATH]";

/// The choices of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    /// A CSV file of numbers and the column to predict; the built-in wine data otherwise.
    pub(crate) data: Option<(PathBuf, String)>,
    /// A database that keeps the evaluations of every run; none: they end with the program.
    pub(crate) store: Option<PathBuf>,
    /// The seed of everything random.
    pub(crate) seed: u64,
}

impl Arguments {
    /// Reads the arguments that follow the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut path, mut target, mut seed, mut store) = (None, None, 42, None);
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--data" => path = Some(PathBuf::from(value()?)),
                "--store" => store = Some(PathBuf::from(value()?)),
                "--target" => target = Some(value()?),
                "--seed" => {
                    let text = value()?;
                    seed = text.parse().map_err(|_| {
                        format!(
                            "--seed is {text:?}, it must be a whole number from 0 to {}",
                            u64::MAX
                        )
                    })?;
                }
                other => return Err(format!("{other:?} is no argument")),
            }
        }
        match (path, target) {
            (Some(path), Some(target)) => Ok(Self { data: Some((path, target)), seed, store }),
            (None, None) => Ok(Self { data: None, seed, store }),
            (Some(_), None) => Err("--data needs --target, the column to predict".to_owned()),
            (None, Some(_)) => Err("--target needs --data, the file it is in".to_owned()),
        }
    }
}
