"""Two calls of a model, as an application makes them that is instrumented by OpenTelemetry.

The SDK and its exporter are configured by the environment alone, as README has it. The model is a server of our own.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SECRET = "the secret of the customer"


class Model(BaseHTTPRequestHandler):
    """Answers as a chat completion does."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({
            "id": f"r-{id(self)}", "object": "chat.completion", "created": 0, "model": "large-model-4",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": SECRET}}],
            "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = HTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(spans)
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(logs)
    OpenAIInstrumentor().instrument()

    model = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0)
    ask = [{"role": "user", "content": SECRET}]
    tracer = trace.get_tracer("support-api")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support-bot",
             "gen_ai.conversation.id": "c-1"}
    with tracer.start_as_current_span("invoke_agent support-bot", attributes=agent):
        model.chat.completions.create(model="large-model-4", messages=ask)
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up"}
        with tracer.start_as_current_span("execute_tool look_up", attributes=tool):
            pass
        model.chat.completions.create(model="large-model-4", messages=ask)

    assert spans.force_flush() and logs.force_flush()
    spans.shutdown()
    logs.shutdown()


main()
