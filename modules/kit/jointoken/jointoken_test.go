package jointoken_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pandu/modules/kit/jointoken"
)

func TestRoundTrip(t *testing.T) {
	fingerprint := sha256.Sum256([]byte("certificate"))
	made := jointoken.New(fingerprint)
	read, err := jointoken.Parse(" " + made.Encode() + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if read != made || read.Fingerprint != fingerprint || !bytes.Equal(read.Hash(), made.Hash()) {
		t.Errorf("read %v, made %v", read, made)
	}
	if other := jointoken.New(fingerprint); bytes.Equal(other.Hash(), made.Hash()) {
		t.Error("two tokens have one secret")
	}
}

func TestRefused(t *testing.T) {
	good := jointoken.New([32]byte{1}).Encode()
	parts := strings.Split(good, ".")
	for name, text := range map[string]string{
		"empty":              "",
		"other version":      "pandu2." + parts[1] + "." + parts[2],
		"short secret":       "pandu1." + parts[1][1:] + "." + parts[2],
		"padded secret":      "pandu1." + parts[1] + "=." + parts[2],
		"broken line":        "pandu1." + parts[1][:20] + "\n" + parts[1][20:] + "." + parts[2],
		"upper fingerprint":  "pandu1." + parts[1] + "." + strings.ToUpper("ab"+parts[2][2:]),
		"short fingerprint":  good[:len(good)-2],
		"no hex":             good[:len(good)-1] + "g",
		"a fourth part":      good + ".x",
		"inside white space": "pandu1. " + parts[1] + "." + parts[2],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := jointoken.Parse(text); !errors.Is(err, jointoken.ErrFormat) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	token := jointoken.New([32]byte{1})
	secret := strings.Split(token.Encode(), ".")[1]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("join", "token", token)
	for _, out := range []string{fmt.Sprint(token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token), log.String()} {
		if strings.Contains(out, secret) {
			t.Errorf("secret in %q", out)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(jointoken.New([32]byte{1}).Encode())
	f.Add("pandu1..")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := jointoken.Parse(text)
		if err == nil && token.Encode() != strings.TrimSpace(text) {
			t.Errorf("%q was read as %q", text, token.Encode())
		}
	})
}
