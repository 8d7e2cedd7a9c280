package config

import (
	"net/netip"
	"reflect"
)

// addressAsPrefix lets a lone address stand where a network is wanted.
func addressAsPrefix(_, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok || to != reflect.TypeFor[netip.Prefix]() {
		return data, nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return data, nil
}
