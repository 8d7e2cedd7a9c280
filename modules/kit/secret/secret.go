// Package secret holds what must never be shown: text that prints as "[redacted]" wherever it is put, and the key that
// seals secrets at rest. It never stores anything and never logs.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a secret looks like to everyone but Reveal. An empty secret looks empty, so that a missing one is seen.
const Redacted = "[redacted]"

// String is a piece of text that cannot be printed, logged or marshalled. The zero value is the empty secret.
type String struct {
	// A pointer, so that even a printer which walks into unexported fields by reflection finds an address only.
	value *string
}

// New makes a secret of text.
func New(text string) String {
	if text == "" {
		return String{}
	}
	return String{&text}
}

// Reveal is the text itself. Call it where the secret is used, and nowhere else.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.value == nil }

// String is the redacted form.
func (s String) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// GoString is the redacted form, for %#v.
func (s String) GoString() string { return s.String() }

// Format writes the redacted form whatever the verb is.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is the redacted form, for slog.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the redacted form; JSON and YAML use it too.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as the secret. The redacted form is refused: it comes from something that was printed.
func (s *String) UnmarshalText(text []byte) error {
	if string(text) == Redacted {
		return fmt.Errorf("%s is what a secret looks like when it is printed, not a secret", Redacted)
	}
	*s = New(string(text))
	return nil
}
