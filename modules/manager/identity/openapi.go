package identity

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
)

// document is the OpenAPI text, made once when it is first asked for: every door has been declared by then.
type document struct {
	once sync.Once
	json []byte
	yaml []byte
	err  error
}

// OpenAPI returns the OpenAPI 3.1 text as JSON and as YAML.
func (d *Doors) OpenAPI() (jsonText, yamlText []byte, err error) {
	d.text.once.Do(func() {
		api := d.api.OpenAPI()
		// huma adds its own error model beside ours; no door answers with it.
		delete(api.Components.Schemas.Map(), "ErrorModel")
		delete(api.Components.Schemas.Map(), "ErrorDetail")
		if d.text.json, d.text.err = json.MarshalIndent(api, "", "  "); d.text.err == nil {
			d.text.yaml, d.text.err = api.YAML()
		}
	})
	return d.text.json, d.text.yaml, d.text.err
}

func (d *Doors) declareText() {
	d.Raw(Door{
		ID: "openapi-json", Method: http.MethodGet, Path: "/openapi.json", Tag: "api", Public: true,
		Summary: "This description of the API, as JSON.",
	}, nil, "application/openapi+json", func(c echo.Context, _ Actor) error {
		text, _, err := d.OpenAPI()
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, "application/openapi+json", text)
	})
	d.Raw(Door{
		ID: "openapi-yaml", Method: http.MethodGet, Path: "/openapi.yaml", Tag: "api", Public: true,
		Summary: "This description of the API, as YAML.",
	}, nil, "application/openapi+yaml", func(c echo.Context, _ Actor) error {
		_, text, err := d.OpenAPI()
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, "application/openapi+yaml", text)
	})
}

// humaConfig is huma without its documentation page, its links to schemas and its own routes, and with our problems.
func (d *Doors) humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("Pandu", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.Servers = []*huma.Server{{URL: Prefix}}
	c.Transformers = []huma.Transformer{d.transform}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":  {Type: "http", Scheme: "bearer", Description: "An API token, or a JWT from POST /auth/token."},
		"session": {Type: "apiKey", In: "cookie", Name: cookieSecure, Description: "The session of a browser."},
	}
	return c
}

func security(door Door) []map[string][]string {
	if door.Public {
		return []map[string][]string{}
	}
	return []map[string][]string{{"bearer": {}}, {"session": {}}}
}

// parameters are the headers that doors share.
func (d *Doors) parameters(door Door) []*huma.Param {
	var all []*huma.Param
	if !door.Public && !door.AnyMember {
		all = append(all, &huma.Param{
			Name: organizationHeader, In: "header", Schema: &huma.Schema{Type: "string"},
			Description: "Id or slug of the organization; without it, the only or oldest one of the caller.",
		})
	}
	if door.Creates {
		all = append(all, &huma.Param{
			Name: idempotencyHeader, In: "header", Schema: &huma.Schema{Type: "string"},
			Description: "Any text of 1 to 255 characters; the same key with the same body gets the same answer for 24 hours.",
		})
	}
	return all
}

func (d *Doors) problemResponse() *huma.Response {
	schema := d.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	return &huma.Response{
		Description: "What went wrong (RFC 9457).",
		Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
	}
}

// describe writes a raw door into the OpenAPI text.
func (d *Doors) describe(door Door, request, response any) {
	op := &huma.Operation{
		OperationID: door.ID, Method: door.Method, Path: door.Path, Summary: door.Summary, Description: door.Description,
		Tags: []string{door.Tag}, Security: security(door), Parameters: d.parameters(door),
		Responses: map[string]*huma.Response{"default": d.problemResponse()},
	}
	for _, m := range pathParameter.FindAllStringSubmatch(door.Path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	op.Parameters = append(op.Parameters, d.fields(request)...)
	if content := d.content(request); content != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: content}
	}
	status := door.Status
	if status == 0 {
		status = http.StatusOK
	}
	op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: d.content(response)}
	d.api.OpenAPI().AddOperation(op)
}

var pathParameter = regexp.MustCompile(`\{([a-z_]+)\}`)

// content is the body part of request or response; nil when there is none.
func (d *Doors) content(v any) map[string]*huma.MediaType {
	switch t := v.(type) {
	case nil:
		return nil
	case string:
		content := map[string]*huma.MediaType{}
		for media := range strings.SplitSeq(t, ",") {
			content[strings.TrimSpace(media)] = &huma.MediaType{Schema: &huma.Schema{Type: "string", Format: "binary"}}
		}
		return content
	}
	t := reflect.TypeOf(v)
	if body, ok := t.FieldByName("Body"); ok && t.Kind() == reflect.Struct {
		if media := body.Tag.Get("contentType"); media != "" {
			return d.content(media)
		}
		t = body.Type
	} else if hasParameters(t) {
		return nil
	}
	schema := d.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
	return map[string]*huma.MediaType{"application/json": {Schema: schema}}
}

func hasParameters(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	return slices.ContainsFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool {
		return f.Tag.Get("query") != "" || f.Tag.Get("header") != ""
	})
}

// fields are the query and header parameters of a raw door's request type.
func (d *Doors) fields(request any) []*huma.Param {
	t := reflect.TypeOf(request)
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var all []*huma.Param
	for _, f := range reflect.VisibleFields(t) {
		for _, in := range []string{"query", "header"} {
			if name := f.Tag.Get(in); name != "" {
				schema := huma.SchemaFromField(d.api.OpenAPI().Components.Schemas, f, f.Name)
				all = append(all, &huma.Param{Name: name, In: in, Description: f.Tag.Get("doc"), Schema: schema})
			}
		}
	}
	return all
}
