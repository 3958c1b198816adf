//! What a span says, by the vocabulary.

use super::facts::{Attributes, Facts, text_of};
use super::vocabulary::{Meaning, Vocabulary, Word};
use serde_json::Value;

/// One thing that an attribute says.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// Which it is.
    pub attribute: &'a str,
    /// Its value.
    pub value: &'a Value,
    /// What it means.
    pub word: &'a Word,
}

impl Said<'_> {
    /// Its value as text.
    pub fn text(&self) -> Option<String> {
        text_of(self.value)
    }
}

/// What attributes say, what counts first first.
pub fn said<'a>(attributes: &'a Attributes, vocabulary: &'a Vocabulary) -> Vec<Said<'a>> {
    let mut all = Vec::new();
    for (attribute, value) in attributes {
        for word in vocabulary.words(attribute) {
            let is_meant = word.value.as_ref().is_none_or(|wanted| {
                text_of(value).is_some_and(|text| text.to_lowercase() == *wanted)
            });
            if is_meant {
                all.push(Said {
                    attribute,
                    value,
                    word,
                });
            }
        }
    }
    all.sort_by(|a, b| {
        (a.word.rank, a.attribute, a.word.meaning).cmp(&(b.word.rank, b.attribute, b.word.meaning))
    });
    all
}

/// The first that is said with a meaning.
pub fn first<'a, 'b>(all: &'b [Said<'a>], meaning: Meaning) -> Option<&'b Said<'a>> {
    all.iter()
        .find(|said| said.word.meaning == meaning && said.text().is_some())
}

/// The same as text.
pub fn first_text(all: &[Said], meaning: Meaning) -> Option<String> {
    first(all, meaning).and_then(Said::text)
}

/// What a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A call of a model.
    ModelCall,
    /// A call of a tool.
    Tool,
    /// An agent at work.
    Agent,
    /// Anything else, which holds others together.
    Other,
}

/// Whether tokens are said to be used, more than none.
pub fn has_usage(all: &[Said]) -> bool {
    all.iter().any(|said| {
        matches!(
            said.word.meaning,
            Meaning::InputTokens | Meaning::OutputTokens | Meaning::TotalTokens
        ) && text_of(said.value)
            .is_some_and(|text| text.parse::<f64>().is_ok_and(|count| count > 0.0))
    })
}

/// What a span is: as it says itself; else by what it carries. Tokens are never passed over: a span that has some, and
/// of which nothing is known, is a call of a model.
pub fn kind_of(all: &[Said]) -> Kind {
    for said in all {
        match said.word.meaning {
            Meaning::ModelCall => return Kind::ModelCall,
            Meaning::Tool => return Kind::Tool,
            Meaning::Agent => return Kind::Agent,
            // an operation that nobody listed
            Meaning::Group if said.word.value.is_none() && has_usage(all) => {
                return Kind::ModelCall;
            }
            Meaning::Nothing | Meaning::Group => return Kind::Other,
            _ => {}
        }
    }
    if has_usage(all) {
        Kind::ModelCall
    } else {
        Kind::Other
    }
}

impl Facts {
    /// Whether anything is said that has to do with agents.
    pub fn says_something(&self) -> bool {
        !self.attributes.is_empty()
    }
}
