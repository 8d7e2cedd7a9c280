package gen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func writeSchema(b *bytes.Buffer, name string, s schema) error {
	if !slices.Contains(s.Type, "object") {
		return fmt.Errorf("schema %s is no object", name)
	}
	fmt.Fprintf(b, "// %s is the API's %s.\ntype %s struct {\n", goName(name), name, goName(name))
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[key]
		required := slices.Contains(s.Required, key)
		t, err := goType(p)
		if err != nil {
			return fmt.Errorf("schema %s, property %s: %w", name, key, err)
		}
		tag := key
		if !required {
			tag += ",omitempty"
		}
		if pointed(p, t, required) {
			t = "*" + t
		}
		fmt.Fprintf(b, "\t%s %s `json:%q`%s\n", goName(key), t, tag, remark(p))
	}
	b.WriteString("}\n\n")
	return nil
}

// pointed: what may be null or missing, where the zero value would say something else. A reference always may be null:
// the description does not tell.
func pointed(s schema, t string, required bool) bool {
	switch {
	case s.Ref != "":
		return true
	case strings.HasPrefix(t, "[]") || strings.HasPrefix(t, "map["):
		return false
	case slices.Contains(s.Type, "null"):
		return true
	default:
		return !required && t != "string"
	}
}

// goType is the Go type of a schema without a pointer.
func goType(s schema) (string, error) {
	if s.Ref != "" {
		return goName(s.Ref[strings.LastIndex(s.Ref, "/")+1:]), nil
	}
	for _, kind := range s.Type {
		switch kind {
		case "null":
		case "string":
			if s.Format == "date-time" {
				return "time.Time", nil
			}
			return "string", nil
		case "integer":
			return "int64", nil
		case "number":
			return "float64", nil
		case "boolean":
			return "bool", nil
		case "array":
			return listType(s)
		case "object":
			return mapType(s)
		}
	}
	return "", fmt.Errorf("do not know the type %v", []string(s.Type))
}

func listType(s schema) (string, error) {
	if s.Items == nil {
		return "", fmt.Errorf("a list of what?")
	}
	t, err := goType(*s.Items)
	return "[]" + t, err
}

func mapType(s schema) (string, error) {
	var values schema
	if err := json.Unmarshal(s.Additional, &values); err != nil || len(s.Properties) > 0 {
		return "", fmt.Errorf("an object without a name of its own")
	}
	t, err := goType(values)
	return "map[string]" + t, err
}

// remark is the comment behind a field: what it means and which values it has.
func remark(s schema) string {
	var parts []string
	if s.Description != "" {
		parts = append(parts, strings.Join(strings.Fields(s.Description), " "))
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		parts = append(parts, strings.Join(values, ", "))
	}
	if len(parts) == 0 {
		return ""
	}
	return " // " + strings.Join(parts, ": ")
}

// initialisms are words that Go writes in capitals.
var initialisms = map[string]string{
	"id": "ID", "url": "URL", "urls": "URLs", "cpu": "CPU", "cpus": "CPUs", "api": "API", "json": "JSON", "yaml": "YAML", "jwt": "JWT", "openapi": "OpenAPI",
}

// goName is an exported Go name for a key, a schema or an operation.
func goName(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		if known, ok := initialisms[strings.ToLower(word)]; ok {
			word = known
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// argName is a Go name for a path's variable.
func argName(name string) string {
	n := goName(name)
	return strings.ToLower(n[:1]) + n[1:]
}
