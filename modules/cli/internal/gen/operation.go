package gen

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	jsonType   = "application/json"
	streamType = "text/event-stream"
)

// writeOperation writes the method of an operation, and the struct of its query when it has one.
func writeOperation(b *bytes.Buffer, method, path string, o operation) error {
	if o.ID == "" {
		return fmt.Errorf("%s %s has no operationId", method, path)
	}
	answer, kind, err := answerOf(o)
	if err != nil {
		return fmt.Errorf("operation %s: %w", o.ID, err)
	}
	if kind == "file" || o.Body != nil && !has(o.Body.Content, jsonType) {
		return nil // by hand
	}
	name := goName(o.ID)
	args := []string{"ctx context.Context"}
	fields := []string{fmt.Sprintf("method: %q", method), "path: " + pathExpression(path)}
	for _, p := range pathVariables(path) {
		args = append(args, argName(p)+" string")
	}
	if err := writeQuery(b, name, o.Parameters); err != nil {
		return fmt.Errorf("operation %s: %w", o.ID, err)
	}
	if queried(o.Parameters) {
		args, fields = append(args, "query "+name+"Query"), append(fields, "query: query.values()")
	}
	if o.Body != nil {
		t, err := goType(o.Body.Content[jsonType].Schema)
		if err != nil {
			return fmt.Errorf("operation %s: %w", o.ID, err)
		}
		args, fields = append(args, "body "+t), append(fields, "body: body")
	}
	if slices.ContainsFunc(o.Parameters, func(p parameter) bool { return p.In == "header" && p.Name == "Idempotency-Key" }) {
		fields = append(fields, "keyed: true")
	}
	writeMethod(b, method+" "+path, o.Summary, name, args, strings.Join(fields, ", "), answer, kind)
	return nil
}

func writeMethod(b *bytes.Buffer, door, summary, name string, args []string, fields, answer, kind string) {
	fmt.Fprintf(b, "// %s is %s.\n// %s\n", name, door, strings.Join(strings.Fields(summary), " "))
	switch kind {
	case "stream":
		args = args[1:] // a stream takes its context when it is read
		fmt.Fprintf(b, "func (c *Client) %s(%s) *Stream {\n\treturn c.stream(request{%s})\n}\n\n", name, strings.Join(args, ", "), fields)
	case "none":
		fmt.Fprintf(b, "func (c *Client) %s(%s) error {\n\treturn c.call(ctx, request{%s}, nil)\n}\n\n", name, strings.Join(args, ", "), fields)
	default:
		fmt.Fprintf(b, "func (c *Client) %s(%s) (%s, error) {\n\tvar out %s\n\terr := c.call(ctx, request{%s}, &out)\n\treturn out, err\n}\n\n",
			name, strings.Join(args, ", "), answer, answer, fields)
	}
}

// answerOf is the Go type of what an operation answers, and its kind: json, stream, file or none.
func answerOf(o operation) (string, string, error) {
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		content := o.Responses[status].Content
		switch {
		case len(content) == 0:
			return "", "none", nil
		case has(content, streamType):
			return "", "stream", nil
		case has(content, jsonType):
			t, err := goType(content[jsonType].Schema)
			return t, "json", err
		default:
			return "", "file", nil
		}
	}
	return "", "", fmt.Errorf("it never succeeds")
}

func has(content map[string]media, kind string) bool {
	_, ok := content[kind]
	return ok
}

func queried(list []parameter) bool {
	return slices.ContainsFunc(list, func(p parameter) bool { return p.In == "query" })
}

// writeQuery writes the struct of a query and how it becomes one. Numbers and booleans are pointers: 0 and false say something.
func writeQuery(b *bytes.Buffer, name string, list []parameter) error {
	if !queried(list) {
		return nil
	}
	var fields, sets strings.Builder
	for _, p := range list {
		if p.In != "query" {
			continue
		}
		t, err := goType(p.Schema)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		field, set := goName(p.Name), "setText"
		switch t {
		case "string":
		case "int64":
			t, set = "*int64", "setNumber"
		case "bool":
			t, set = "*bool", "setFlag"
		default:
			return fmt.Errorf("parameter %s: a query cannot hold %s", p.Name, t)
		}
		fmt.Fprintf(&fields, "\t%s %s%s\n", field, t, remark(p.Schema))
		fmt.Fprintf(&sets, "\t%s(v, %q, q.%s)\n", set, p.Name, field)
	}
	fmt.Fprintf(b, "// %sQuery is the query of %s; what is empty is not sent.\ntype %sQuery struct {\n%s}\n\n", name, name, name, fields.String())
	fmt.Fprintf(b, "func (q %sQuery) values() url.Values {\n\tv := url.Values{}\n%s\treturn v\n}\n\n", name, sets.String())
	return nil
}

func pathVariables(path string) []string {
	var list []string
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") {
			list = append(list, strings.Trim(part, "{}"))
		}
	}
	return list
}

// pathExpression is Go for a path with its variables escaped: "/a/" + segment(b) + "/c".
func pathExpression(path string) string {
	var parts []string
	literal := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		literal += "/"
		if strings.HasPrefix(part, "{") {
			parts = append(parts, fmt.Sprintf("%q", literal), "segment("+argName(strings.Trim(part, "{}"))+")")
			literal = ""
			continue
		}
		literal += part
	}
	if literal != "" {
		parts = append(parts, fmt.Sprintf("%q", literal))
	}
	return strings.Join(parts, " + ")
}
