//! Which attribute means what: the rows of `agent_metrics.span_vocabulary`, made ready for looking up.
//!
//! Conventions name the same thing in many ways, and teams in ways of their own. So names are rows and not code. A row
//! says what an attribute means, and before which others it counts (`rank`, the lower first). A row with a value says
//! it only where the attribute has that value.

use std::collections::HashMap;

/// What an attribute says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Meaning {
    /// Name of the agent.
    AgentName,
    /// Id of the agent, which may be new at every start of a process.
    AgentId,
    /// Version of the agent.
    AgentVersion,
    /// The conversation, thread or session.
    Conversation,
    /// Who the agent spoke with.
    User,
    /// Who runs the model.
    Provider,
    /// The model that answered, or was asked.
    Model,
    /// Version of the prompt.
    PromptVersion,
    /// Id that the provider gave the response.
    ResponseId,
    /// Service tier: batch, flex, priority.
    ServiceTier,
    /// Name of a tool.
    ToolName,
    /// What went wrong.
    Error,
    /// The trace belongs to an experiment.
    IsEval,
    /// The span calls a model.
    ModelCall,
    /// The span calls a tool.
    Tool,
    /// The span is a whole agent.
    Agent,
    /// The span is none of them and stands for nothing: embeddings, templates, rerankers.
    Nothing,
    /// The span is none of them and holds others together.
    Group,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Input and output tokens together.
    TotalTokens,
    /// Of the input tokens, those read from a cache.
    CacheReadTokens,
    /// Of the input tokens, those written to a cache.
    CacheWriteTokens,
    /// Of the input tokens, those written to a cache that lives for five minutes.
    CacheWrite5mTokens,
    /// Of the input tokens, those written to a cache that lives for an hour.
    CacheWrite1hTokens,
    /// Tokens of reasoning.
    ReasoningTokens,
    /// Input tokens of audio.
    AudioInputTokens,
    /// Output tokens of audio.
    AudioOutputTokens,
    /// Input tokens of images.
    ImageInputTokens,
    /// Output tokens of images.
    ImageOutputTokens,
    /// Tokens of a kind that is the last part of the attribute's own name.
    OtherTokens,
    /// What the call cost, in US dollars.
    Cost,
    /// A part of what it cost; the parts are added up where no whole is told.
    CostPart,
    /// How long it took, in milliseconds, where that is an attribute.
    DurationMs,
    /// Kept, and of no meaning until a row gives it one.
    Kept,
}

impl Meaning {
    /// By the word that stands in the table.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "agent_name" => Self::AgentName,
            "agent_id" => Self::AgentId,
            "agent_version" => Self::AgentVersion,
            "conversation" => Self::Conversation,
            "user" => Self::User,
            "provider" => Self::Provider,
            "model" => Self::Model,
            "prompt_version" => Self::PromptVersion,
            "response_id" => Self::ResponseId,
            "service_tier" => Self::ServiceTier,
            "tool_name" => Self::ToolName,
            "error" => Self::Error,
            "is_eval" => Self::IsEval,
            "model_call" => Self::ModelCall,
            "tool" => Self::Tool,
            "agent" => Self::Agent,
            "nothing" => Self::Nothing,
            "group" => Self::Group,
            "input_tokens" => Self::InputTokens,
            "output_tokens" => Self::OutputTokens,
            "total_tokens" => Self::TotalTokens,
            "cache_read_tokens" => Self::CacheReadTokens,
            "cache_write_tokens" => Self::CacheWriteTokens,
            "cache_write_5m_tokens" => Self::CacheWrite5mTokens,
            "cache_write_1h_tokens" => Self::CacheWrite1hTokens,
            "reasoning_tokens" => Self::ReasoningTokens,
            "audio_input_tokens" => Self::AudioInputTokens,
            "audio_output_tokens" => Self::AudioOutputTokens,
            "image_input_tokens" => Self::ImageInputTokens,
            "image_output_tokens" => Self::ImageOutputTokens,
            "other_tokens" => Self::OtherTokens,
            "cost" => Self::Cost,
            "cost_part" => Self::CostPart,
            "duration_ms" => Self::DurationMs,
            "kept" => Self::Kept,
            _ => return None,
        })
    }

    /// Whether it says what kind of span it is.
    pub fn is_kind(self) -> bool {
        matches!(
            self,
            Self::ModelCall | Self::Tool | Self::Agent | Self::Nothing | Self::Group
        )
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// What it means.
    pub meaning: Meaning,
    /// Where it says so only for one value: this, in small letters.
    pub value: Option<String>,
    /// The lower counts first.
    pub rank: i32,
    /// Of input tokens: whether they include cached ones. Of cached, reasoning and other tokens: whether the input, or
    /// output, that stands beside them includes them. `None`: it does not say.
    pub is_included: Option<bool>,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Vocabulary {
    exact: HashMap<String, Vec<Word>>,
    /// Names that end in `*`, without it.
    prefixes: Vec<(String, Word)>,
    /// Beginnings of names, up to a dot: below such an attribute there is something to find.
    roots: std::collections::HashSet<String>,
}

impl Vocabulary {
    /// From text: rows with U+001E between them, each with U+001F between attribute, value (empty: any), meaning, rank,
    /// and whether it is included (true, false, or empty). A row that cannot be read, as a later version may have one,
    /// is passed over.
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for row in text.split('\u{1e}') {
            let mut fields = row.split('\u{1f}');
            let mut next = || fields.next().unwrap_or_default();
            let (attribute, value, meaning, rank, is_included) =
                (next(), next(), next(), next(), next());
            let (Some(meaning), Ok(rank)) = (Meaning::named(meaning), rank.parse()) else {
                continue;
            };
            let is_included = is_included.parse().ok();
            let value = Some(value.to_lowercase()).filter(|value| !value.is_empty());
            let word = Word {
                meaning,
                value,
                rank,
                is_included,
            };
            for (at, _) in attribute.match_indices('.') {
                all.roots.insert(attribute[..at].to_owned());
            }
            match attribute.strip_suffix('*') {
                Some(prefix) => all.prefixes.push((prefix.to_owned(), word)),
                None => all
                    .exact
                    .entry(attribute.to_owned())
                    .or_default()
                    .push(word),
            }
        }
        all
    }

    /// What an attribute may mean. A name of its own counts before one that only begins so.
    pub fn words(&self, attribute: &str) -> impl Iterator<Item = &Word> {
        let exact = self.exact.get(attribute);
        let prefixed = exact
            .is_none()
            .then(|| {
                self.prefixes
                    .iter()
                    .filter(|(prefix, _)| attribute.starts_with(prefix.as_str()))
                    .map(|(_, word)| word)
            })
            .into_iter()
            .flatten();
        exact.into_iter().flatten().chain(prefixed)
    }

    /// Whether an attribute has a meaning, or may get one.
    pub fn knows(&self, attribute: &str) -> bool {
        self.words(attribute).next().is_some()
    }

    /// Whether something is to be found below an attribute: in its nested values, or in JSON that it holds as text.
    pub fn looks_into(&self, attribute: &str) -> bool {
        self.roots.contains(attribute)
    }
}

/// A vocabulary of rows with bars between their fields, for tests.
#[cfg(test)]
pub fn words(rows: &[&str]) -> Vocabulary {
    Vocabulary::parse(&rows.join("\u{1e}").replace('|', "\u{1f}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_exactly_and_then_by_their_beginning() {
        let all = words(&[
            "a.b||model|10|",
            "a.c.*||kept|20|",
            "a.c.d||user|5|",
            "kind|LLM|model_call|1|",
            "x||of a later version|1|true",
            "too|short",
        ]);
        assert!(all.knows("a.b") && all.knows("a.c.x") && !all.knows("a.c") && !all.knows("x"));
        assert!(all.looks_into("a") && all.looks_into("a.c") && !all.looks_into("a.b"));
        let words: Vec<_> = all.words("a.c.d").map(|word| word.meaning).collect();
        assert_eq!(words, [Meaning::User]);
        assert_eq!(
            all.words("kind").next().unwrap().value.as_deref(),
            Some("llm")
        );
    }
}
