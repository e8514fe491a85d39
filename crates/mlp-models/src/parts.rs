//! Fitted parts with other fitted parts inside, as one body of bytes.

use std::sync::Arc;

use mlp_core::{FittedModel, FittedTransformer, SaveError, Saved};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::persist::{Loader, check_format};

/// How deep saved parts may lie in each other: far more than anybody needs, and little enough for any stack.
const MAX_DEPTH: usize = 32;

/// A fitted part with others inside: its kind, the version of its format, and how it is read.
pub(crate) trait Composite: Sized {
    const KIND: &'static str;
    const FORMAT: u32 = 1;

    /// Reads the body and checks that its parts fit together.
    fn read(parts: &mut Parts<'_>, inside: &Inside<'_>) -> Result<Self, SaveError>;
}

pub(crate) fn load<C: Composite>(saved: &Saved, inside: &Inside<'_>) -> Result<C, SaveError> {
    check_format(saved, C::KIND, C::FORMAT)?;
    let mut parts = Parts(saved.body());
    let part = C::read(&mut parts, inside)?;
    if parts.is_empty() { Ok(part) } else { Err(malformed("there are bytes behind its end")) }
}

pub(crate) fn malformed(reason: impl Into<String>) -> SaveError {
    SaveError::Malformed { reason: reason.into() }
}

/// What reads the parts inside a part: a loader, and how deep it is by now.
#[derive(Clone, Copy)]
pub(crate) struct Inside<'a> {
    pub(crate) loader: &'a Loader,
    pub(crate) depth: usize,
}

impl Inside<'_> {
    fn deeper(&self) -> Result<Self, SaveError> {
        if self.depth == MAX_DEPTH {
            return Err(malformed(format!("parts lie more than {MAX_DEPTH} deep in each other")));
        }
        Ok(Self { depth: self.depth + 1, ..*self })
    }

    pub(crate) fn model(&self, parts: &mut Parts<'_>) -> Result<Arc<dyn FittedModel>, SaveError> {
        let inside = self.deeper()?;
        self.loader.model_inside(&Saved::from_bytes(parts.next()?)?, &inside)
    }

    pub(crate) fn transformer(
        &self,
        parts: &mut Parts<'_>,
    ) -> Result<Arc<dyn FittedTransformer>, SaveError> {
        let inside = self.deeper()?;
        self.loader.transformer_inside(&Saved::from_bytes(parts.next()?)?, &inside)
    }
}

/// The parts of a body, each behind its length (8 bytes, little endian).
pub(crate) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(crate) fn next(&mut self) -> Result<&'a [u8], SaveError> {
        let short = || malformed("it is cut short");
        let (length, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        let (part, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        self.0 = rest;
        Ok(part)
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, SaveError> {
        serde_json::from_slice(self.next()?).map_err(|error| malformed(error.to_string()))
    }

    pub(crate) fn text(&mut self) -> Result<String, SaveError> {
        let text = std::str::from_utf8(self.next()?).map_err(|_| malformed("a name is not UTF-8"));
        text.map(str::to_owned)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A body that is being written.
#[derive(Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), SaveError> {
        let text = serde_json::to_vec(value).map_err(|error| malformed(error.to_string()))?;
        self.push(&text);
        Ok(())
    }

    pub(crate) fn model(&mut self, model: &dyn FittedModel) -> Result<(), SaveError> {
        self.push(&model.save()?.to_bytes());
        Ok(())
    }

    pub(crate) fn transformer(&mut self, step: &dyn FittedTransformer) -> Result<(), SaveError> {
        self.push(&step.save()?.to_bytes());
        Ok(())
    }

    pub(crate) fn save<C: Composite>(self) -> Result<Saved, SaveError> {
        Saved::new(C::KIND, C::FORMAT, self.0)
    }
}
