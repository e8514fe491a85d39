//! The data: the built-in wines, or a file of the user's.

use std::path::Path;

use mlp::data::{Error, ReadOptions, Table, TargetColumn, TargetKind, read_csv};

/// A table as it was found, and what it is.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) raw: Table,
    pub(crate) about: String,
}

/// More distinct target values than this are numbers, not classes.
const MAX_CLASSES: usize = 20;

/// The wine-quality data: 1,599 red wines, eleven measurements each, and a quality from 3 to 8 given by tasters (Cortez and others 2009).
pub(crate) fn wines() -> Result<Source, Error> {
    let wines = linfa_datasets::winequality();
    let quality: Vec<f64> = wines.targets.iter().map(|&quality| quality as f64).collect();
    let names = wines.feature_names().to_vec();
    let raw = Table::new(names, wines.records)?.with_values("quality", quality)?;
    Ok(Source {
        name: "wine".to_owned(),
        raw,
        about: "wine quality (Cortez and others 2009), built in".to_owned(),
    })
}

/// A CSV file of numbers. A target of few distinct whole numbers is read as classes, any other as numbers.
pub(crate) fn file(path: &Path, target: &str) -> Result<Source, Error> {
    let options =
        ReadOptions::new().with_target(target, TargetKind::Detect { max_classes: MAX_CLASSES });
    let raw = read_csv(path, &options)?;
    let name = path
        .file_stem()
        .map_or_else(|| "data".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(Source { name, raw, about: path.display().to_string() })
}

/// The table with classes to predict, and what they are: as they stand, or a number cut in two.
pub(crate) fn with_classes(table: &Table) -> Result<(Table, String), Error> {
    let (name, values) = match table.target() {
        TargetColumn::Values { name, values } => (name.clone(), values),
        other => {
            return Ok((
                table.clone(),
                format!("{} as it stands", other.name().unwrap_or("nothing")),
            ));
        }
    };
    let (limit, [below, above]) = if name == "quality" {
        (6.0, ["ordinary", "good"])
    } else {
        (median(values), ["low", "high"])
    };
    let labels = values.iter().map(|&value| usize::from(value > limit)).collect();
    let text = format!("{above} is a {name} above {limit}, {below} any other");
    Ok((table.clone().without_target().with_classes(name, labels, [below, above])?, text))
}

/// The fewest rows of a class that can be parted into training, test and traffic, and the training rows into five folds.
const MIN_OF_CLASS: usize = 20;

/// Refuses a table that is too small for all the stages.
pub(crate) fn check(source: &Source) -> Result<(), String> {
    let distinct = source.raw.drop_duplicates().table;
    let (table, _) = with_classes(&distinct).map_err(|error| error.to_string())?;
    let TargetColumn::Classes { name, labels, classes } = table.target() else {
        return Err(format!("{}: there is no target", source.about));
    };
    for (class, class_name) in classes.iter().enumerate() {
        let count = labels.iter().filter(|&&label| label == class).count();
        if count < MIN_OF_CLASS {
            let about = &source.about;
            return Err(format!(
                "{about}, column {name:?}: {count} distinct rows of {class_name:?}, at least {MIN_OF_CLASS} are needed"
            ));
        }
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}
