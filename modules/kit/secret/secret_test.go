package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"pandu/modules/kit/secret"
)

const hidden = "correct-horse-battery"

type holder struct {
	Public  string        `json:"public" yaml:"public"`
	Secret  secret.String `json:"secret" yaml:"secret"`
	Pointer *secret.String
	private secret.String
	Map     map[string]secret.String
	Key     secret.Key
}

func TestNothingShowsTheSecret(t *testing.T) {
	s := secret.New(hidden)
	key := secret.NewKey()
	h := holder{"seen", s, &s, s, map[string]secret.String{"a": s}, key}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", key)
		fmt.Fprintf(&out, verb+"\n", []any{s, key})
	}
	fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", s), s, key)
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("message", "secret", s, "holder", h, "key", key)
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		body, err := marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(body)
	}
	raw, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	decimal := strings.Trim(fmt.Sprint(raw), "[]")
	for _, form := range []string{hidden, hex.EncodeToString([]byte(hidden)), strings.ToUpper(hex.EncodeToString([]byte(hidden))),
		key.Reveal(), hex.EncodeToString(raw), decimal, string(raw)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret is shown as %q", form)
		}
	}
	if !strings.Contains(out.String(), secret.Redacted) || !strings.Contains(out.String(), "seen") {
		t.Error("nothing was printed at all")
	}
}

func TestReveal(t *testing.T) {
	if got := secret.New(hidden).Reveal(); got != hidden {
		t.Errorf("Reveal() = %q", got)
	}
	var zero secret.String
	if !zero.IsZero() || zero.Reveal() != "" || zero.String() != "" || !secret.New("").IsZero() {
		t.Error("the zero secret is not empty")
	}
}

func TestPrintedSecretIsNotReadBack(t *testing.T) {
	var s secret.String
	if err := s.UnmarshalText([]byte(secret.Redacted)); err == nil {
		t.Error("a redacted secret was taken for a secret")
	}
	if err := s.UnmarshalText([]byte(hidden)); err != nil || s.Reveal() != hidden {
		t.Errorf("secret %q, error %v", s.Reveal(), err)
	}
}

func TestParseKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff, 0x01, 0x7e}, 8)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw), " " + strings.ToUpper(hex.EncodeToString(raw)) + "\n",
	} {
		k, err := secret.ParseKey(text)
		if err != nil || k.Reveal() != base64.StdEncoding.EncodeToString(raw) {
			t.Errorf("ParseKey(%q) gives another key, error %v", text, err)
		}
	}
	for _, text := range []string{"", "password", strings.Repeat("a", 31), base64.StdEncoding.EncodeToString(raw[:31]), hex.EncodeToString(append(raw, 0))} {
		if _, err := secret.ParseKey(text); !errors.Is(err, secret.ErrKey) {
			t.Errorf("ParseKey(%q): error %v", text, err)
		}
	}
}

func TestSealedBoxOpensOnlyWithItsKeyAndPlace(t *testing.T) {
	k := secret.NewKey()
	box := k.Seal([]byte(hidden), "identity.keys/1")
	if bytes.Contains(box, []byte(hidden)) {
		t.Fatal("the box shows what is in it")
	}
	plain, err := k.Open(box, "identity.keys/1")
	if err != nil || string(plain) != hidden {
		t.Fatalf("opened %q, error %v", plain, err)
	}
	flipped := bytes.Clone(box)
	flipped[len(flipped)/2] ^= 1
	cases := map[string]func() ([]byte, error){
		"another key":   func() ([]byte, error) { return secret.NewKey().Open(box, "identity.keys/1") },
		"another place": func() ([]byte, error) { return k.Open(box, "identity.keys/2") },
		"damaged":       func() ([]byte, error) { return k.Open(flipped, "identity.keys/1") },
		"cut":           func() ([]byte, error) { return k.Open(box[:8], "identity.keys/1") },
		"no key":        func() ([]byte, error) { return secret.Key{}.Open(box, "identity.keys/1") },
	}
	for name, open := range cases {
		if _, err := open(); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
