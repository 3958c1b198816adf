//! Which attribute holds what somebody said to a model or a model to somebody: it is dropped before anything is stored.

/// Most bytes of a value that is no content: what is longer is text, whatever it is called.
pub const VALUE_MAX: usize = 4096;

/// Names that hold a message, and all below them.
const NAMES: [&str; 22] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.completions",
    "input.value",
    "output.value",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "ai.prompt",
    "ai.response.text",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "tool.parameters",
    "retrieval.documents",
];

/// Whether an attribute of this name holds a message, a tool's arguments or its result.
pub fn is_content(key: &str) -> bool {
    // the version of a prompt is no prompt
    if key == "gen_ai.prompt.version" || key == "gen_ai.prompt.name" {
        return false;
    }
    NAMES.iter().any(|name| {
        key.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
