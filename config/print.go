package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"pandu/modules/kit/secret"
)

// Printed is one setting as it is shown: secrets are redacted.
type Printed struct {
	Key         string `json:"key"`
	Value       any    `json:"value"`
	Source      string `json:"source"` // default, file PATH, environment NAME, file PATH named by NAME
	Environment string `json:"environment"`
}

// List is every setting, in the order of the example file; with changed, only those that are not at their default.
func (c *Config) List(changed bool) []Printed {
	list := []Printed{}
	for _, s := range settings() {
		p := Printed{s.key, s.value(c), c.sources[s.key], s.env}
		if !changed || p.Source != "default" {
			list = append(list, p)
		}
	}
	return list
}

// PrintJSON writes the list as one JSON array.
func PrintJSON(w io.Writer, list []Printed) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(list)
}

// PrintYAML writes the list as a settings file whose comments say where each value came from.
func PrintYAML(w io.Writer, list []Printed) error {
	group := ""
	for _, p := range list {
		section, name, nested := strings.Cut(p.Key, ".")
		if !nested {
			section, name = "", p.Key
		}
		if section != group && section != "" {
			if _, err := fmt.Fprintf(w, "%s:\n", section); err != nil {
				return err
			}
		}
		group = section
		if _, err := fmt.Fprintf(w, "%s%s: %s # %s\n", indent(nested), name, scalar(p.Value), p.Source); err != nil {
			return err
		}
	}
	return nil
}

// Example is the file config.example.yaml: every setting with its default, which a file may repeat or leave out.
func Example() string {
	var b strings.Builder
	b.WriteString("# Every setting of Pandu with its default. Name the file in PANDU_CONFIG. A variable in the environment wins over\n" +
		"# the file; each has a variant ending in _FILE that names a file with the value. What is empty here is filled at\n" +
		"# start: pandu config print shows with what. Generated from config.go.\n")
	def, group := Default(), ""
	for _, s := range settings() {
		section, name, nested := strings.Cut(s.key, ".")
		if !nested {
			section, name = "", s.key
		}
		if section != group {
			fmt.Fprintf(&b, "\n%s:\n", section)
			group = section
		} else if !nested || section == group {
			b.WriteString("\n")
		}
		pad := indent(nested)
		for _, line := range wrap(s.help, 110) {
			fmt.Fprintf(&b, "%s# %s\n", pad, line)
		}
		fmt.Fprintf(&b, "%s# %s\n%s%s: %s\n", pad, s.env, pad, name, scalar(s.value(&def)))
	}
	return b.String()
}

func indent(nested bool) string {
	if nested {
		return "  "
	}
	return ""
}

// scalar is a value in JSON, which YAML reads too.
func scalar(v any) string {
	if v == secret.Redacted {
		return `"` + secret.Redacted + `"`
	}
	body, err := json.Marshal(v)
	if err != nil {
		return `""`
	}
	return string(body)
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
