-- Rows that ship: names of providers that mean the same, and services of bills that are models. See metrics/rows.sql.
--
-- Providers are named as OpenTelemetry's conventions for generative AI name them. Only names of a provider as a whole
-- ship: whether "us.model-1" or "model-1-20260101" costs what "model-1" costs is known to who pays for it.

INSERT INTO agent_metrics.model_aliases (provider, canonical_provider)
SELECT a.name, v.provider
FROM (VALUES
    ('openai', ARRAY['openai', 'openai.responses', 'openai.chat', 'openai.completion', 'open_ai',
                     'text-completion-openai']),
    ('azure.ai.openai', ARRAY['azure.ai.openai', 'az.ai.openai', 'azure.openai', 'azure_openai', 'azure openai',
                              'azure openai service', 'azure', 'azure-openai', 'azure_text', 'microsoft',
                              'azureopenai']),
    ('azure.ai.inference', ARRAY['azure.ai.inference', 'az.ai.inference', 'azure_ai', 'azure ai foundry',
                                 'azure_ai_inference']),
    ('anthropic', ARRAY['anthropic', 'anthropic.messages', 'claude', 'anthropic_text']),
    ('aws.bedrock', ARRAY['aws.bedrock', 'aws_bedrock', 'bedrock', 'bedrock_converse', 'amazon-bedrock',
                          'amazon bedrock', 'aws', 'amazon web services', 'amazon_bedrock']),
    ('gcp.vertex_ai', ARRAY['gcp.vertex_ai', 'vertex_ai', 'vertexai', 'vertex ai', 'google.vertex',
                            'google.vertex.chat', 'google-vertex', 'google_vertexai', 'google cloud',
                            'vertex_ai-language-models', 'vertex_ai-anthropic_models', 'vertex_ai-text-models',
                            'vertex_ai-chat-models', 'vertex_ai-vision-models', 'vertex_ai-embedding-models',
                            'vertex_ai-llama_models', 'vertex_ai-mistral_models', 'vertex_ai-deepseek_models',
                            'vertex_ai-code-text-models', 'vertex_ai-code-chat-models', 'vertex_ai-ai21_models',
                            'vertex_ai-qwen_models', 'vertex_ai-openai_models']),
    ('gcp.gemini', ARRAY['gcp.gemini', 'gemini', 'google', 'google.generative-ai', 'google-gla', 'google_genai',
                         'google_ai_studio', 'google ai studio', 'gemini api']),
    ('mistral_ai', ARRAY['mistral_ai', 'mistral', 'mistralai', 'mistral ai', 'mistral.chat']),
    ('cohere', ARRAY['cohere', 'cohere_chat', 'cohere.chat']),
    ('deepseek', ARRAY['deepseek', 'deepseek.chat']),
    ('groq', ARRAY['groq', 'groq.chat']),
    ('perplexity', ARRAY['perplexity', 'pplx']),
    ('x_ai', ARRAY['x_ai', 'xai', 'x.ai', 'xai.chat']),
    ('ibm.watsonx.ai', ARRAY['ibm.watsonx.ai', 'watsonx', 'ibm_watsonx'])) AS v (provider, names)
CROSS JOIN LATERAL unnest(v.names) AS a (name)
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.model_services (service_name, biller, model_provider) VALUES
    ('Amazon Bedrock%', '%', 'aws.bedrock'),
    ('%(Amazon Bedrock Edition)', '%', 'aws.bedrock'),
    ('Vertex AI%', '%', 'gcp.vertex_ai'),
    ('Gemini API%', '%', 'gcp.gemini'),
    ('Generative Language API%', '%', 'gcp.gemini'),
    ('Azure OpenAI%', '%', 'azure.ai.openai'),
    ('Azure AI Foundry%', '%', 'azure.ai.inference'),
    ('Azure AI Model Inference%', '%', 'azure.ai.inference'),
    ('Foundry Models%', '%', 'azure.ai.inference'),
    ('Microsoft Foundry%', '%', 'azure.ai.inference'),
    ('OpenAI%', '%', 'openai'),
    ('Anthropic%', '%', 'anthropic'),
    ('Claude%', '%', 'anthropic'),
    ('Mistral AI%', '%', 'mistral_ai'),
    ('Cohere%', '%', 'cohere'),
    ('DeepSeek%', '%', 'deepseek'),
    ('Groq%', '%', 'groq'),
    ('watsonx.ai%', '%', 'ibm.watsonx.ai'),
    ('%', 'OpenAI%', 'openai'),
    ('%', 'Anthropic%', 'anthropic'),
    ('%', 'Mistral%', 'mistral_ai'),
    ('%', 'Cohere%', 'cohere'),
    ('%', 'DeepSeek%', 'deepseek'),
    ('%', 'Groq%', 'groq'),
    ('%', 'Perplexity%', 'perplexity'),
    ('%', 'xAI%', 'x_ai')
ON CONFLICT DO NOTHING;
