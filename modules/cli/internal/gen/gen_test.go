package gen

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The client is what its generator makes of the API's text: whoever changes a door runs go generate ./modules/cli/client.
func TestClientIsUpToDate(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := Generate(text)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../client/client_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("modules/cli/client/client_gen.go differs from docs/openapi.json: go generate ./modules/cli/client")
	}
}

const small = `{"paths": {"/things/{thing-id}/parts": {
  "get": {"operationId": "list-parts", "summary": "List\n parts", "parameters": [
    {"in": "path", "name": "thing-id", "schema": {"type": "string"}}, {"in": "query", "name": "limit", "schema": {"type": "integer"}},
    {"in": "query", "name": "all", "schema": {"type": "boolean"}}, {"in": "query", "name": "name", "schema": {"type": "string"}}],
    "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Part-list"}}}}, "default": {}}},
  "post": {"operationId": "add-part", "parameters": [{"in": "header", "name": "Idempotency-Key", "schema": {"type": "string"}}],
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Part"}}}}, "responses": {"204": {}}}},
 "/log": {"get": {"operationId": "read-log", "responses": {"200": {"content": {"text/event-stream": {}}}}}},
 "/file": {"get": {"operationId": "read-file", "responses": {"200": {"content": {"application/octet-stream": {}}}}}}},
 "components": {"schemas": {
  "Part-list": {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}}},
  "Part": {"type": "object", "required": ["id", "at", "size", "maker"], "properties": {
    "id": {"type": "string", "description": "who\n it is", "enum": ["a", "b"]}, "at": {"type": ["string", "null"], "format": "date-time"},
    "size": {"type": "integer"}, "count": {"type": "integer"}, "note": {"type": "string"}, "maker": {"$ref": "#/components/schemas/Part"},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}}, "lines": {"type": ["array", "null"], "items": {"type": "string"}}}}}}}`

func TestGenerate(t *testing.T) {
	source, err := Generate([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(source)), " ")
	for _, want := range []string{
		"At *time.Time `json:\"at\"`", "Size int64 `json:\"size\"`", "Count *int64 `json:\"count,omitempty\"`", "Note string `json:\"note,omitempty\"`",
		"Maker *Part `json:\"maker\"`", "Labels map[string]string `json:\"labels,omitempty\"`", "Lines []string", "Items []Part `json:\"items\"`",
		"ID string `json:\"id\"` // who it is: a, b", `setNumber(v, "limit", q.Limit)`, `setFlag(v, "all", q.All)`, `setText(v, "name", q.Name)`,
		"func (c *Client) ListParts(ctx context.Context, thingID string, query ListPartsQuery) (PartList, error)",
		`path: "/things/" + segment(thingID) + "/parts", query: query.values()`,
		"func (c *Client) AddPart(ctx context.Context, thingID string, body Part) error", "body: body, keyed: true",
		"func (c *Client) ReadLog() *Stream",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("there is no %s in\n%s", want, source)
		}
	}
	if strings.Contains(words, "ReadFile") {
		t.Error("an operation with a file was generated")
	}
	again, err := Generate([]byte(small))
	if err != nil || !bytes.Equal(source, again) {
		t.Errorf("not the same twice: %v", err)
	}
}

func TestGenerateRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for name, text := range map[string]string{
		"no json":             `{`,
		"a nameless object":   `{"components": {"schemas": {"A": {"type": "object", "properties": {"b": {"type": "object", "properties": {"c": {"type": "string"}}}}}}}}`,
		"a choice":            `{"components": {"schemas": {"A": {"type": "object", "properties": {"b": {"oneOf": []}}}}}}`,
		"a list of nothing":   `{"components": {"schemas": {"A": {"type": "object", "properties": {"b": {"type": "array"}}}}}}`,
		"no id":               `{"paths": {"/a": {"get": {"responses": {"204": {}}}}}}`,
		"never a success":     `{"paths": {"/a": {"get": {"operationId": "a", "responses": {"default": {}}}}}}`,
		"a list in the query": `{"paths": {"/a": {"get": {"operationId": "a", "parameters": [{"in": "query", "name": "x", "schema": {"type": "array", "items": {"type": "string"}}}], "responses": {"204": {}}}}}}`,
	} {
		if _, err := Generate([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
