package builds

import (
	"encoding/json"
	"io"
)

// newDecoder reads the Engine's streams of JSON messages.
func newDecoder(body io.Reader) *json.Decoder { return json.NewDecoder(body) }
