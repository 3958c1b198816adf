//! Tokens and money of one call, right or unknown.
//!
//! In one convention the input tokens include those that a cache gave, in another they leave them out; both are called
//! the same. A sum that is told beside them decides; else the name under which the cached ones come, else who runs the
//! model, else the name of the input, unless there are more cached tokens than input tokens. What still contradicts
//! itself is said to.

use super::said::{Said, first, first_text};
use super::vocabulary::Meaning;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most tokens of one kind that one call can have; see `check_turn`.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// Tokens and money of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input: Option<u64>,
    /// Output tokens, reasoning included.
    pub output: Option<u64>,
    /// Of the input, what was read from a cache.
    pub cache_read: Option<u64>,
    /// Of the input, what was written to a cache.
    pub cache_write: Option<u64>,
    /// Of all these, what may have a price of its own, by its usage type.
    pub details: BTreeMap<String, u64>,
    /// What the producer says that it cost: decimals, of which the sum is the cost.
    pub costs: Vec<String>,
}

impl Usage {
    /// Whether tokens are known.
    pub fn has_tokens(&self) -> bool {
        self.input.is_some() || self.output.is_some()
    }
}

/// A count: a whole number, as number or text, also one that is written as 1100.0.
fn count(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let count = text.parse::<u64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        (number >= 0.0 && number.fract() == 0.0 && number <= TOKENS_MAX as f64)
            .then_some(number as u64)
    });
    count.filter(|count| *count <= TOKENS_MAX)
}

/// A count that is said, and whether what stands beside it includes it.
#[derive(Clone, Copy, Default)]
struct Count {
    tokens: Option<u64>,
    is_included: Option<bool>,
}

impl Count {
    fn or_zero(self) -> u64 {
        self.tokens.unwrap_or(0)
    }

    fn apart(self) -> u64 {
        if self.is_included == Some(false) {
            self.or_zero()
        } else {
            0
        }
    }
}

fn read(all: &[Said], meaning: Meaning, name: &str) -> Result<Count, String> {
    let Some(said) = first(all, meaning) else {
        return Ok(Count::default());
    };
    match count(said.value) {
        Some(tokens) => Ok(Count {
            tokens: Some(tokens),
            is_included: said.word.is_included,
        }),
        None => {
            let value = said.text().unwrap_or_default();
            let value = super::content::beginning(&value, 40);
            Err(format!(
                "{name} of tokens is \"{value}\", no whole number up to 1e12"
            ))
        }
    }
}

/// Amounts in US dollars that are told: the whole, else its parts.
fn costs(all: &[Said], has_tokens: bool) -> Vec<String> {
    let amount = |said: &Said| {
        let text = said.text()?;
        let text = text.trim();
        let is_decimal = text.len() <= 60
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
        let value = text.parse::<f64>().ok()?;
        // nothing for some tokens is how an unknown price is written; a model that is free has a price of 0
        (is_decimal && (0.0..1e12).contains(&value) && (value > 0.0 || !has_tokens))
            .then(|| text.to_owned())
    };
    let whole = all
        .iter()
        .filter(|said| said.word.meaning == Meaning::Cost)
        .find_map(amount);
    if let Some(whole) = whole {
        return vec![whole];
    }
    let parts = || {
        all.iter()
            .filter(|said| said.word.meaning == Meaning::CostPart)
    };
    let Some(rank) = parts().map(|said| said.word.rank).min() else {
        return Vec::new();
    };
    let of_rank: Vec<&Said> = parts().filter(|said| said.word.rank == rank).collect();
    let zero =
        |said: &&&Said| said.text().and_then(|text| text.trim().parse::<f64>().ok()) == Some(0.0);
    let amounts: Vec<String> = of_rank
        .iter()
        .filter(|said| !zero(said))
        .filter_map(|said| amount(said))
        .collect();
    // a part that is no amount leaves the whole unknown
    if amounts.len() + of_rank.iter().filter(zero).count() == of_rank.len() {
        amounts
    } else {
        Vec::new()
    }
}

/// What a call used.
///
/// # Errors
/// In words why that cannot be told: a count that is none, more cached tokens than there are.
pub fn usage(all: &[Said]) -> Result<Usage, String> {
    let input = read(all, Meaning::InputTokens, "input")?;
    let output = read(all, Meaning::OutputTokens, "output")?;
    let total = read(all, Meaning::TotalTokens, "total")?.tokens;
    let cache_read = read(all, Meaning::CacheReadTokens, "cache read")?;
    let mut cache_write = read(all, Meaning::CacheWriteTokens, "cache write")?;
    let short = read(all, Meaning::CacheWrite5mTokens, "cache write")?;
    let long = read(all, Meaning::CacheWrite1hTokens, "cache write")?;
    if cache_write.tokens.is_none() && (short.tokens.is_some() || long.tokens.is_some()) {
        cache_write = Count {
            tokens: Some(short.or_zero() + long.or_zero()),
            is_included: short.is_included.or(long.is_included),
        };
    }
    let reasoning = read(all, Meaning::ReasoningTokens, "reasoning")?;
    let inputs = [
        (
            "audio_input",
            read(all, Meaning::AudioInputTokens, "audio")?,
        ),
        (
            "image_input",
            read(all, Meaning::ImageInputTokens, "image")?,
        ),
    ];
    let outputs = [
        (
            "audio_output",
            read(all, Meaning::AudioOutputTokens, "audio")?,
        ),
        (
            "image_output",
            read(all, Meaning::ImageOutputTokens, "image")?,
        ),
    ];
    let mut details = BTreeMap::new();
    let mut apart_input: u64 = inputs.iter().map(|(_, count)| count.apart()).sum();
    let mut apart_output: u64 = outputs.iter().map(|(_, count)| count.apart()).sum();
    for said in all
        .iter()
        .filter(|said| said.word.meaning == Meaning::OtherTokens)
    {
        let name = said.attribute.rsplit('.').next().unwrap_or_default();
        let Some(tokens) = count(said.value).filter(|tokens| *tokens > 0) else {
            continue;
        };
        match said.word.is_included {
            Some(false) if name.starts_with("input") => apart_input += tokens,
            Some(false) if name.starts_with("output") => apart_output += tokens,
            _ => {}
        }
        details.insert(name.to_owned(), tokens);
    }

    let cached = cache_read.or_zero() + cache_write.or_zero();
    let sides = input.or_zero() + output.or_zero() + apart_input + apart_output;
    let mut is_apart = reasoning.is_included == Some(false);
    let sides_apart = sides + if is_apart { reasoning.or_zero() } else { 0 };
    let by_total = total
        .filter(|_| input.tokens.is_some() && output.tokens.is_some())
        .and_then(|total| {
            if total == sides_apart {
                Some(true)
            } else if total == sides_apart + cached {
                Some(false)
            } else if !is_apart && reasoning.or_zero() > 0 && total >= reasoning.or_zero() {
                // a sum that only comes out with reasoning on top
                let rest = total - reasoning.or_zero();
                let found = (rest == sides)
                    .then_some(true)
                    .or((rest == sides + cached).then_some(false));
                is_apart |= found.is_some();
                found
            } else {
                None
            }
        });
    let by_name = cache_read.is_included.or(cache_write.is_included);
    let provider = first_text(all, Meaning::Provider)
        .unwrap_or_default()
        .to_lowercase();
    let by_provider = provider.contains("bedrock").then_some(false);
    let by_input = input
        .is_included
        .filter(|is_included| !is_included || cached <= input.or_zero());
    let includes = by_total
        .or(by_name)
        .or(by_provider)
        .or(by_input)
        .unwrap_or(cached <= input.or_zero());
    if includes && input.tokens.is_some() && cached > input.or_zero() {
        return Err(format!(
            "more cached tokens than input tokens: input {}, cache read {}, cache write {}",
            input.or_zero(),
            cache_read.or_zero(),
            cache_write.or_zero()
        ));
    }

    let mut found = Usage {
        input: input
            .tokens
            .map(|tokens| tokens + apart_input + if includes { 0 } else { cached }),
        output: output
            .tokens
            .map(|tokens| tokens + apart_output + if is_apart { reasoning.or_zero() } else { 0 }),
        cache_read: cache_read.tokens,
        cache_write: cache_write.tokens,
        ..Usage::default()
    };
    for (name, tokens) in inputs
        .into_iter()
        .chain(outputs)
        .chain([("reasoning", reasoning), ("cache_write_1h", long)])
    {
        if tokens.or_zero() > 0 {
            details.insert(name.to_owned(), tokens.or_zero());
        }
    }
    // A sum that nothing explains: some of what is billed is not told, so the cost is not known either.
    if let (Some(total), Some(input), Some(output)) = (total, found.input, found.output) {
        let explained = [input + output, input + output - cached.min(input)];
        // some producers are a token or two off in their own sum
        let missing = explained
            .iter()
            .map(|sum| total.abs_diff(*sum))
            .min()
            .unwrap_or(0);
        if total > 0 && missing > 8 && missing.saturating_mul(200) > total {
            details.insert("unexplained".to_owned(), missing);
        }
    }
    found.details = details;
    // A call of a model has input: where none is told, nothing is known of it, as of a stream without usage.
    if found.input == Some(0) {
        found.input = None;
        found.output = found.output.filter(|output| *output > 0);
        if found.output.is_none() {
            (found.cache_read, found.cache_write) = (None, None);
        }
    }
    found.costs = costs(all, found.has_tokens());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::facts::Attributes;
    use super::super::said::said;
    use super::super::vocabulary::words;
    use super::*;

    /// Attributes, provider, and what is right.
    type Case<'a> = (&'a [(&'a str, i64)], &'a str, &'a str);

    /// Input, output, cache read, cache write, details, of attributes in short: `in` includes cached tokens, `raw` does
    /// not, `cr` and `cw` do not say, `cwx` says that the input leaves it out, `apart` is reasoning beside the output.
    fn used(attributes: &[(&str, i64)], provider: &str) -> Result<String, String> {
        let vocabulary = words(&[
            "in||input_tokens|1|true",
            "raw||input_tokens|2|false",
            "out||output_tokens|1|",
            "total||total_tokens|1|",
            "cr||cache_read_tokens|1|",
            "cri||cache_read_tokens|2|true",
            "cw||cache_write_tokens|1|",
            "cwx||cache_write_tokens|2|false",
            "w1h||cache_write_1h_tokens|1|false",
            "apart||reasoning_tokens|1|false",
            "reason||reasoning_tokens|2|",
            "p||provider|1|",
        ]);
        let mut all: Attributes = attributes
            .iter()
            .map(|(name, tokens)| ((*name).to_owned(), Value::from(*tokens)))
            .collect();
        all.insert("p".to_owned(), Value::from(provider));
        let found = usage(&said(&all, &vocabulary))?;
        let count =
            |tokens: Option<u64>| tokens.map_or("-".to_owned(), |tokens| tokens.to_string());
        let [input, output, read, write] = [
            found.input,
            found.output,
            found.cache_read,
            found.cache_write,
        ]
        .map(count);
        Ok(format!(
            "{input} {output} {read} {write} {:?}",
            found.details
        ))
    }

    #[test]
    fn input_is_brought_to_one_meaning() {
        let cases: [Case; 13] = [
            (
                &[("in", 1000), ("out", 50), ("cr", 800)],
                "",
                "1000 50 800 - {}",
            ),
            (
                &[("raw", 200), ("out", 50), ("cr", 800)],
                "",
                "1000 50 800 - {}",
            ),
            // the sum decides, whatever the names say
            (
                &[("in", 200), ("out", 50), ("cr", 800), ("total", 1050)],
                "",
                "1000 50 800 - {}",
            ),
            (
                &[("raw", 1000), ("out", 50), ("cr", 800), ("total", 1050)],
                "",
                "1000 50 800 - {}",
            ),
            // then the name of the cached ones, then who runs the model
            (
                &[("in", 200), ("out", 50), ("cwx", 800)],
                "",
                "1000 50 - 800 {}",
            ),
            (
                &[("in", 900), ("out", 50), ("cr", 800)],
                "aws.bedrock",
                "1700 50 800 - {}",
            ),
            (
                &[("in", 900), ("out", 50), ("cri", 800)],
                "aws.bedrock",
                "900 50 800 - {}",
            ),
            // more cached ones than input can only lie beside it
            (
                &[("in", 3), ("out", 50), ("cr", 800)],
                "",
                "803 50 800 - {}",
            ),
            (
                &[("raw", 10), ("out", 5), ("w1h", 100)],
                "",
                "110 5 - 100 {\"cache_write_1h\": 100}",
            ),
            (
                &[("in", 10), ("out", 5), ("apart", 20)],
                "",
                "10 25 - - {\"reasoning\": 20}",
            ),
            (
                &[("in", 10), ("out", 25), ("reason", 20)],
                "",
                "10 25 - - {\"reasoning\": 20}",
            ),
            (
                &[("in", 10), ("out", 5), ("reason", 20), ("total", 35)],
                "",
                "10 25 - - {\"reasoning\": 20}",
            ),
            // what nothing explains leaves the cost unknown
            (
                &[("in", 1000), ("out", 50), ("total", 2000)],
                "",
                "1000 50 - - {\"unexplained\": 950}",
            ),
        ];
        for (attributes, provider, right) in cases {
            assert_eq!(
                used(attributes, provider).as_deref(),
                Ok(right),
                "{attributes:?}"
            );
        }
        assert_eq!(
            used(&[("in", 0), ("out", 0)], "").as_deref(),
            Ok("- - - - {}")
        );
        assert_eq!(
            used(&[("in", 0), ("out", 5)], "").as_deref(),
            Ok("- 5 - - {}")
        );
        let error = used(&[("in", 5), ("out", 1), ("cri", 9)], "").unwrap_err();
        assert_eq!(
            error,
            "more cached tokens than input tokens: input 5, cache read 9, cache write 0"
        );
        assert!(used(&[("in", -1)], "").is_err());
    }
}
