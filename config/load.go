package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"pandu/modules/kit/secret"
)

// maxFile bounds the settings file and every file that a *_FILE variable names, in bytes.
const maxFile = 1 << 20

// Load reads the settings for this machine and checks them. Its error lists everything that is wrong, one line each,
// and never shows a secret.
func Load(m Machine) (*Config, error) {
	v, sources, err := read(m)
	if err != nil {
		return nil, err
	}
	c := Config{sources: sources}
	hooks := mapstructure.ComposeDecodeHookFunc(refuseUnquoted, splitList, mapstructure.StringToTimeDurationHookFunc(), addressAsPrefix, mapstructure.TextUnmarshallerHookFunc())
	if err := v.Unmarshal(&c, viper.DecodeHook(hooks)); err != nil {
		return nil, decodeError(err)
	}
	c.resolve(m)
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// read puts defaults, file and environment on top of each other.
func read(m Machine) (*viper.Viper, map[string]string, error) {
	v, sources, def := viper.NewWithOptions(), map[string]string{}, Default()
	for _, s := range settings() {
		v.SetDefault(s.key, s.value(&def))
		sources[s.key] = "default"
	}
	env := environment(m.Environ)
	return v, sources, errors.Join(readFile(v, env["PANDU_CONFIG"], sources), readEnvironment(v, env, sources))
}

func readFile(v *viper.Viper, path string, sources map[string]string) error {
	if path == "" {
		return nil
	}
	body, err := readBounded(path)
	if err != nil {
		return fmt.Errorf("read the settings file named by PANDU_CONFIG: %w", err)
	}
	file := viper.NewWithOptions()
	file.SetConfigType("yaml")
	if err := file.ReadConfig(bytes.NewReader(body)); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	known := map[string]setting{}
	for _, s := range settings() {
		known[s.key] = s
	}
	var errs []error
	for _, key := range slices.Sorted(slices.Values(file.AllKeys())) {
		s, ok := known[key]
		if !ok {
			errs = append(errs, unknown(path+": unknown setting "+key, key, keysOf(known)))
			continue
		}
		if value := file.Get(s.key); value != nil && (value != "" || s.none) {
			v.Set(s.key, value)
			sources[s.key] = "file " + path
		}
	}
	return errors.Join(errs...)
}

func readEnvironment(v *viper.Viper, env, sources map[string]string) error {
	var errs []error
	for _, s := range settings() {
		value, source, err := s.fromEnvironment(env)
		if err != nil {
			errs = append(errs, err)
		}
		if source != "" {
			v.Set(s.key, value)
			sources[s.key] = source
		}
	}
	return errors.Join(append(errs, refuseUnknown(env))...)
}

// fromEnvironment is the setting's value in the environment. An empty variable counts as not set, because compose files
// and charts pass those on, unless empty is a value of its own; source is empty when there is none.
func (s setting) fromEnvironment(env map[string]string) (value, source string, err error) {
	plain, set := env[s.env]
	path := env[s.file()]
	switch {
	case plain != "" && path != "":
		return "", "", fmt.Errorf("%s and %s are both set: keep one", s.env, s.file())
	case path != "":
		body, err := readBounded(path)
		if err != nil {
			return "", "", fmt.Errorf("read the file named by %s: %w", s.file(), err)
		}
		return strings.TrimRight(string(body), "\r\n"), "file " + path + " named by " + s.file(), nil
	case plain != "" || set && s.none:
		return plain, "environment " + s.env, nil
	}
	return "", "", nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("%s is longer than 1 MiB", path)
	}
	return body, err
}

// refuseUnquoted refuses a secret that YAML took for a number: 0123 would have become 83.
func refuseUnquoted(from, to reflect.Type, data any) (any, error) {
	if to == reflect.TypeFor[secret.String]() && from.Kind() != reflect.String {
		return nil, errors.New("must be text: put it in quotes")
	}
	return data, nil
}

// splitList reads a list from one text with commas, as the environment has it.
func splitList(from, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok || to.Kind() != reflect.Slice {
		return data, nil
	}
	list := []string{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list, nil
}

// decodeError drops the summary line and the indentation of mapstructure.
func decodeError(err error) error {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = strings.TrimLeft(line, " *\t")
		if line != "" && !strings.Contains(line, "error(s) decoding") && !strings.HasPrefix(line, "decoding failed") {
			lines = append(lines, line)
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}
