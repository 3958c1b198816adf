//! Questions: asked at a terminal; where there is none, what is missing is named with its flag.

use std::io::IsTerminal;

use anyhow::{Result, bail};
use dialoguer::{Confirm, Input, Select};

use crate::program::text;

/// Who is asked.
pub struct Person {
    is_there: bool,
}

impl Person {
    /// Somebody at a terminal, unless `is_silent`.
    pub fn at_terminal(is_silent: bool) -> Self {
        Self {
            is_there: !is_silent && std::io::stdin().is_terminal() && text::is_screen(),
        }
    }

    /// What a flag gave, else an answer.
    pub fn text(
        &self,
        given: Option<String>,
        flag: &str,
        question: &str,
        usual: Option<&str>,
    ) -> Result<String> {
        if let Some(given) = given {
            return Ok(given);
        }
        if !self.is_there {
            return match usual {
                Some(usual) => Ok(usual.to_owned()),
                None => bail!("{question} is not said: give {flag}"),
            };
        }
        let mut input = Input::<String>::new().with_prompt(question);
        if let Some(usual) = usual {
            input = input.default(usual.to_owned());
        }
        Ok(input.interact_text()?)
    }

    /// What a flag gave, else an answer, which may be nothing.
    pub fn perhaps(&self, given: Option<String>, question: &str) -> Result<Option<String>> {
        if given.is_some() || !self.is_there {
            return Ok(given);
        }
        let said: String = Input::new()
            .with_prompt(format!("{question} (nothing: none)"))
            .allow_empty(true)
            .interact_text()?;
        Ok(Some(said).filter(|said| !said.trim().is_empty()))
    }

    /// One of several; None where nobody is there to choose.
    pub fn choice(&self, question: &str, items: &[String]) -> Result<Option<usize>> {
        if !self.is_there {
            return Ok(None);
        }
        let shown: Vec<String> = items.iter().map(|item| text::shown(item)).collect();
        Ok(Some(
            Select::new()
                .with_prompt(text::shown(question))
                .items(&shown)
                .default(0)
                .interact()?,
        ))
    }

    /// Whether to go on: yes where nobody is there to be asked.
    pub fn agrees(&self, question: &str) -> Result<bool> {
        Ok(!self.is_there
            || Confirm::new()
                .with_prompt(question)
                .default(true)
                .interact()?)
    }
}
