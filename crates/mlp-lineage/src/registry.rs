//! Registered models: their versions, numbered and never reused, and the aliases that point at them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::str::FromStr;

use mlp_core::{ModelName, RecordId, StoreError, Timestamp, VersionNumber};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// A name that points at a version, such as `champion`: 1 to 250 letters, digits, `_`, `-` and `.`, and neither `latest` nor `v` with digits.
/// Capital and small letters differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl FromStr for Alias {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = text.chars().count();
        let reserved = |text: &str| {
            let number = text.strip_prefix(['v', 'V']);
            text.eq_ignore_ascii_case("latest")
                || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let reason = if length == 0 || length > 250 || !text.chars().all(allowed) {
            "an alias has 1 to 250 letters, digits, `_`, `-` and `.`"
        } else if reserved(text) {
            "`latest` and `v` with digits are reserved"
        } else {
            return Ok(Self(text.to_owned()));
        };
        let shown: String = text.chars().take(80).collect();
        Err(StoreError::invalid(format!("alias {shown:?}"), reason))
    }
}

impl TryFrom<String> for Alias {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether an alias moves freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It does.
    Open,
    /// It moves, and goes, only with a named approver.
    Protected,
}

/// How far a version has come, as in MLflow's registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStage {
    /// Registered, nothing more.
    #[default]
    None,
    /// Being tried.
    Staging,
    /// In use.
    Production,
    /// No longer in use.
    Archived,
    /// Gone: the last that is told of a version ([`ModelRegistry::transitions`]); no version stands there.
    Deleted,
}

impl fmt::Display for VersionStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Staging => "staging",
            Self::Production => "production",
            Self::Archived => "archived",
            Self::Deleted => "deleted",
        })
    }
}

/// A version went from one stage to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageMove {
    /// The version.
    pub version: VersionNumber,
    /// Where it stood.
    pub from: VersionStage,
    /// Where it stands now.
    pub to: VersionStage,
    /// When.
    pub at: Timestamp,
    /// Who moved it.
    pub by: Option<String>,
}

/// One registered version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelVersion {
    /// The model.
    pub model: ModelName,
    /// Its number.
    pub version: VersionNumber,
    /// The lineage record of how it was made.
    pub record: RecordId,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// How far it has come.
    #[serde(default)]
    pub stage: VersionStage,
    /// Free labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// The most tags of a version.
pub const MAX_VERSION_TAGS: usize = 100;

/// Checks a tag by itself, for backends: 1 to 250 characters of a name, none of them a control character, and at most 1 MiB of value.
///
/// # Errors
/// [`StoreError::Invalid`], naming the tag.
pub fn check_tag(name: &str, value: Option<&str>) -> Result<(), StoreError> {
    let length = name.chars().count();
    let shown: String = name.chars().take(80).collect();
    let invalid = |reason: &str| Err(StoreError::invalid(format!("tag {shown:?}"), reason));
    if length == 0 || length > 250 || name.chars().any(char::is_control) {
        return invalid("a name has 1 to 250 characters without control characters");
    }
    if value.is_some_and(|value| value.len() > 1 << 20) {
        return invalid("its value has more than 1,048,576 bytes");
    }
    Ok(())
}

impl ModelVersion {
    /// A version without stage and tags. For backends.
    #[must_use]
    pub fn new(
        model: ModelName,
        version: VersionNumber,
        record: RecordId,
        registered_at: Timestamp,
    ) -> Self {
        let (stage, tags) = (VersionStage::None, BTreeMap::new());
        Self { model, version, record, registered_at, stage, tags }
    }

    /// Sets or removes a tag. For backends.
    ///
    /// # Errors
    /// As [`ModelRegistry::set_tag`].
    pub fn set_tag(&mut self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        check_tag(name, value)?;
        let Some(value) = value else {
            let gone = self.tags.remove(name);
            return gone.map(|_| ()).ok_or_else(|| StoreError::not_found("tag", name));
        };
        if self.tags.len() >= MAX_VERSION_TAGS && !self.tags.contains_key(name) {
            let (given, limit) = (self.tags.len() as u64 + 1, MAX_VERSION_TAGS as u64);
            return Err(StoreError::limit_exceeded("tags of a version", given, limit));
        }
        self.tags.insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

/// An alias moved, or went, or its protection changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasMove {
    /// The alias.
    pub alias: Alias,
    /// Where it pointed.
    pub from: Option<VersionNumber>,
    /// Where it points now.
    pub to: Option<VersionNumber>,
    /// When.
    pub at: Timestamp,
    /// Who approved it.
    pub approver: Option<String>,
    /// The protection that it has from here on; none if only the alias moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

impl AliasMove {
    /// A move of an alias. For backends.
    #[must_use]
    pub fn new(
        alias: Alias,
        from: Option<VersionNumber>,
        to: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Self {
        let approver = approver.map(str::to_owned);
        Self { alias, from, to, at, approver, protection: None }
    }
}

/// Whether somebody is named. For backends: protected aliases move, and lose their protection, only with a name.
///
/// # Errors
/// [`StoreError::Conflict`] if nobody is.
pub fn check_approver(alias: &Alias, approver: Option<&str>) -> Result<(), StoreError> {
    match approver.is_some_and(|name| !name.trim().is_empty()) {
        true => Ok(()),
        false => Err(StoreError::conflict(
            "alias",
            alias,
            "it is protected: name who approves the change",
        )),
    }
}

/// Refuses [`VersionStage::Deleted`] as a stage to stand in. For backends.
///
/// # Errors
/// [`StoreError::Invalid`].
pub fn check_stage(stage: VersionStage) -> Result<(), StoreError> {
    match stage {
        VersionStage::Deleted => {
            Err(StoreError::invalid("stage", "a version is deleted by delete_version"))
        }
        _ => Ok(()),
    }
}

/// Keeps registered models.
///
/// # Contract
///
/// Each promise is a check in `testing` (feature `testing`).
///
/// * Versions of a model are numbered 1, 2, 3, …; a number is never given again, also after its version was deleted, and concurrent
///   registrations get different ones.
/// * Setting an alias moves it. Deleting a version removes its aliases. Each move is recorded, in order, and so is each deletion.
/// * A protected alias moves, goes and loses its protection only with a named approver; changes of its protection are recorded among its moves.
///   While it points at a version, that version cannot be deleted.
/// * A version begins in [`VersionStage::None`]; each change of its stage is recorded, in order. Several versions may be in one stage.
pub trait ModelRegistry: Debug + Send + Sync {
    /// Registers the next version of a model; the first one registers the model.
    ///
    /// # Errors
    /// As the backend says.
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError>;

    /// Reads one version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError>;

    /// Reads all versions of a model, in the order of their numbers; none if there is no such model.
    ///
    /// # Errors
    /// As the backend says.
    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError>;

    /// Deletes a version, and with it the aliases that point at it; the last of its transitions says so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if a protected alias points at it.
    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Points an alias at a version, or with none removes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such version; [`StoreError::Conflict`] if the alias is protected and nobody is named.
    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Says whether an alias of a model moves freely from now on, also before it is set. Nothing is recorded if that is how it was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such model; [`StoreError::Conflict`] if a protection is to be lifted and nobody is named.
    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Reads the aliases of a model.
    ///
    /// # Errors
    /// As the backend says.
    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError>;

    /// Reads how the aliases of a model moved, in order.
    ///
    /// # Errors
    /// As the backend says.
    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError>;

    /// The registered models, by name.
    ///
    /// # Errors
    /// As the backend says.
    fn models(&self) -> Result<Vec<ModelName>, StoreError>;

    /// Moves a version to a stage; nothing is recorded if it is there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Invalid`] for [`VersionStage::Deleted`].
    fn set_stage(
        &self,
        model: &ModelName,
        version: VersionNumber,
        stage: VersionStage,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Reads how the versions of a model went from stage to stage, in order.
    ///
    /// # Errors
    /// As the backend says.
    fn transitions(&self, model: &ModelName) -> Result<Vec<StageMove>, StoreError>;

    /// Sets or replaces a tag of a version, or with no value removes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the version, or the tag to remove; [`StoreError::Invalid`] as [`check_tag`];
    /// [`StoreError::LimitExceeded`] above 100 tags.
    fn set_tag(
        &self,
        model: &ModelName,
        version: VersionNumber,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Reads the version with the greatest number; none without versions.
    ///
    /// # Errors
    /// As the backend says.
    fn latest(&self, model: &ModelName) -> Result<Option<ModelVersion>, StoreError> {
        Ok(self.versions(model)?.pop())
    }

    /// Finds a version by an alias, by `latest`, or by `v` with its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Invalid`] for a text that is no alias.
    fn resolve(&self, model: &ModelName, name: &str) -> Result<ModelVersion, StoreError> {
        let missing = || StoreError::not_found("model version", format!("{model}@{name}"));
        if name == "latest" {
            return self.latest(model)?.ok_or_else(missing);
        }
        let digits = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit());
        let number = name.strip_prefix('v').filter(digits).and_then(|number| number.parse().ok());
        if let Some(number) = number {
            return self.version(model, VersionNumber(number));
        }
        let alias: Alias = name.parse()?;
        let mut last = None;
        loop {
            let version = self.aliases(model)?.get(&alias).copied().ok_or_else(missing)?;
            match self.version(model, version) {
                // The alias moved, and the version it left was deleted, between the two reads.
                Err(StoreError::NotFound { .. }) if last != Some(version) => last = Some(version),
                found => return found,
            }
        }
    }
}

/// Keeps registered models in memory.
#[derive(Debug, Default)]
pub struct InMemoryModelRegistry {
    models: RwLock<BTreeMap<ModelName, Registered>>,
}

#[derive(Debug, Default)]
struct Registered {
    last: u64,
    versions: BTreeMap<VersionNumber, ModelVersion>,
    aliases: BTreeMap<Alias, VersionNumber>,
    protection: BTreeMap<Alias, Protection>,
    moves: Vec<AliasMove>,
    transitions: Vec<StageMove>,
}

impl InMemoryModelRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn not_found(model: &ModelName, version: VersionNumber) -> StoreError {
    StoreError::not_found("model version", format!("{model}@{version}"))
}

impl ModelRegistry for InMemoryModelRegistry {
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError> {
        let mut models = self.models.write();
        let registered = models.entry(model.clone()).or_default();
        registered.last += 1;
        let version = VersionNumber(registered.last);
        let entry = ModelVersion::new(model.clone(), version, record, at);
        registered.versions.insert(version, entry);
        Ok(version)
    }

    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError> {
        let models = self.models.read();
        let found = models.get(model).and_then(|registered| registered.versions.get(&version));
        found.cloned().ok_or_else(|| not_found(model, version))
    }

    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let models = self.models.read();
        Ok(models.get(model).map(|r| r.versions.values().cloned().collect()).unwrap_or_default())
    }

    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let registered = models.get_mut(model).ok_or_else(|| not_found(model, version))?;
        if !registered.versions.contains_key(&version) {
            return Err(not_found(model, version));
        }
        let pointing: Vec<Alias> = registered
            .aliases
            .iter()
            .filter(|(_, to)| **to == version)
            .map(|(a, _)| a.clone())
            .collect();
        if let Some(alias) = pointing.iter().find(|alias| registered.is_protected(alias)) {
            let reason = format!("the protected alias {alias} points at it");
            return Err(StoreError::conflict(
                "model version",
                format!("{model}@{version}"),
                reason,
            ));
        }
        for alias in pointing {
            registered.point(alias, None, at, None);
        }
        if let Some(gone) = registered.versions.remove(&version) {
            let (to, by) = (VersionStage::Deleted, by.map(str::to_owned));
            registered.transitions.push(StageMove { version, from: gone.stage, to, at, by });
        }
        Ok(())
    }

    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let missing = || match version {
            Some(version) => not_found(model, version),
            None => StoreError::not_found("model", model),
        };
        let registered = models.get_mut(model).ok_or_else(missing)?;
        if version.is_some_and(|version| !registered.versions.contains_key(&version)) {
            return Err(missing());
        }
        if registered.is_protected(alias) {
            check_approver(alias, approver)?;
        }
        registered.point(alias.clone(), version, at, approver);
        Ok(())
    }

    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let registered =
            models.get_mut(model).ok_or_else(|| StoreError::not_found("model", model))?;
        let was = registered.is_protected(alias);
        if was == (protection == Protection::Protected) {
            return Ok(());
        }
        if was {
            check_approver(alias, approver)?;
        }
        registered.protection.insert(alias.clone(), protection);
        let to = registered.aliases.get(alias).copied();
        let told = AliasMove::new(alias.clone(), to, to, at, approver);
        registered.moves.push(AliasMove { protection: Some(protection), ..told });
        Ok(())
    }

    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError> {
        Ok(self.models.read().get(model).map(|r| r.aliases.clone()).unwrap_or_default())
    }

    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError> {
        Ok(self.models.read().get(model).map(|r| r.moves.clone()).unwrap_or_default())
    }

    fn models(&self) -> Result<Vec<ModelName>, StoreError> {
        Ok(self.models.read().keys().cloned().collect())
    }

    fn set_stage(
        &self,
        model: &ModelName,
        version: VersionNumber,
        stage: VersionStage,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        check_stage(stage)?;
        let mut models = self.models.write();
        let registered = models.get_mut(model).ok_or_else(|| not_found(model, version))?;
        let entry =
            registered.versions.get_mut(&version).ok_or_else(|| not_found(model, version))?;
        let from = std::mem::replace(&mut entry.stage, stage);
        if from != stage {
            let by = by.map(str::to_owned);
            registered.transitions.push(StageMove { version, from, to: stage, at, by });
        }
        Ok(())
    }

    fn transitions(&self, model: &ModelName) -> Result<Vec<StageMove>, StoreError> {
        Ok(self.models.read().get(model).map(|r| r.transitions.clone()).unwrap_or_default())
    }

    fn set_tag(
        &self,
        model: &ModelName,
        version: VersionNumber,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        check_tag(name, value)?;
        let mut models = self.models.write();
        let entry =
            models.get_mut(model).and_then(|registered| registered.versions.get_mut(&version));
        entry.ok_or_else(|| not_found(model, version))?.set_tag(name, value)
    }
}

impl Registered {
    fn is_protected(&self, alias: &Alias) -> bool {
        self.protection.get(alias) == Some(&Protection::Protected)
    }

    fn point(
        &mut self,
        alias: Alias,
        to: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) {
        let from = match to {
            Some(version) => self.aliases.insert(alias.clone(), version),
            None => self.aliases.remove(&alias),
        };
        if from != to {
            self.moves.push(AliasMove::new(alias, from, to, at, approver));
        }
    }
}
