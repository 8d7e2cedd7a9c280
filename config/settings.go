package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// setting is one field of Config.
type setting struct {
	key    string // as in the file: panel.listen
	env    string // PANDU_PANEL_LISTEN
	help   string
	secret bool
	none   bool // an empty value means none, so an empty variable counts
	index  []int
}

// file is the variable that names a file with the value.
func (s setting) file() string { return s.env + "_FILE" }

// settings are all fields in the order of the struct, which is the order of the example file.
func settings() []setting { return collect(reflect.TypeFor[Config](), "", nil) }

func collect(t reflect.Type, prefix string, index []int) []setting {
	var all []setting
	for i := range t.NumField() {
		f := t.Field(i)
		name, at := f.Tag.Get("mapstructure"), append(append([]int(nil), index...), i)
		switch {
		case name == "":
		case f.Tag.Get("help") == "":
			all = append(all, collect(f.Type, prefix+name+".", at)...)
		default:
			s := setting{key: prefix + name, env: f.Tag.Get("env"), help: f.Tag.Get("help"), secret: f.Type.String() == "secret.String", none: f.Tag.Get("empty") == "none", index: at}
			if s.env == "" {
				s.env = "PANDU_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
			}
			all = append(all, s)
		}
	}
	return all
}

// value is the setting's value in c, in the form a file would have: text, number, truth or list of texts.
func (s setting) value(c *Config) any {
	v := reflect.ValueOf(c).Elem().FieldByIndex(s.index)
	switch {
	case v.Kind() == reflect.Slice:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return list
	case v.Kind() == reflect.Bool || v.Kind() == reflect.Int:
		return v.Interface()
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}
