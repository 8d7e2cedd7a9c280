package compose

import (
	"path"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"pandu/modules/spec"
)

func (w *walker) buildKey(path string, v *value) any {
	var kept any
	context, dockerfile := ".", "Dockerfile"
	switch v.kind {
	case scalar:
		context = w.settle(path, v)
		kept = context
	case mapping:
		build := w.mapping(path, v, buildRules())
		kept = build
		context, dockerfile = text(build["context"], context), text(build["dockerfile"], dockerfile)
	default:
		w.wrongKind(path, v, "a folder or a mapping")
		return nil
	}
	w.judgeContext(path, context, dockerfile)
	return kept
}

func text(v any, otherwise string) string {
	if s, ok := v.(string); ok && s != "" {
		return s
	}
	return otherwise
}

func (w *walker) judgeContext(path, context, dockerfile string) {
	line, fileLine := w.lineOf(join(path, "context")), w.lineOf(join(path, "dockerfile"))
	if strings.Contains(context, "://") || strings.HasPrefix(context, "git@") || strings.HasPrefix(context, "github.com/") || strings.Contains(context, `\`) || strings.HasPrefix(context, "~") {
		w.problem(line, path, "context_outside", "The context %.80s is no folder of the upload.", context)
		return
	}
	folder, ok := w.inside(context)
	if !ok {
		w.problem(line, path, "context_outside", "The context %.80s lies outside the upload.", context)
		return
	}
	file := dockerfilePath(folder, dockerfile)
	if file == "" {
		w.problem(fileLine, path, "context_outside", "The Dockerfile %.80s lies outside its context.", dockerfile)
		return
	}
	switch {
	case w.input.Exists == nil:
	case !w.input.Exists(folder):
		w.problem(line, path, "context_missing", "The upload has no folder %.80s.", folder)
	case !w.input.Exists(file):
		w.problem(fileLine, path, "dockerfile_missing", "The upload has no file %.80s.", file)
	}
}

func (w *walker) argsKey(path string, v *value) any {
	kept := map[string]any{}
	for _, e := range w.variables(path, v) {
		line := w.lineOf(join(path, e.Name))
		if e.FromVariable {
			w.problem(line, path, "variable_outside_environment", "The build argument %s has no value. Give one; variables reach values of environment only.", e.Name)
			continue
		}
		kept[e.Name] = w.settle(join(path, e.Name), &value{kind: scalar, line: line, text: e.Value})
	}
	return kept
}

func (w *walker) build(s types.ServiceConfig) *spec.Build {
	if s.Build == nil {
		reference, err := spec.ImageReference(s.Image)
		if err != nil {
			w.refuse(w.lineOf("services."+s.Name+".image"), "services."+s.Name+".image", err)
		}
		return &spec.Build{Kind: spec.Import, Reference: reference}
	}
	folder, _ := w.inside(s.Build.Context)
	b := &spec.Build{Kind: spec.Dockerfile, Context: folder, Dockerfile: text(s.Build.Dockerfile, "Dockerfile"), Target: s.Build.Target}
	for name, value := range s.Build.Args {
		if b.Args == nil {
			b.Args = map[string]string{}
		}
		if value != nil {
			b.Args[name] = *value
		}
	}
	return b
}

// dockerfilePath is where a Dockerfile lies in the upload; empty when it is outside its context.
func dockerfilePath(folder, dockerfile string) string {
	file := path.Join(folder, dockerfile)
	if path.IsAbs(dockerfile) || strings.Contains(dockerfile, `\`) || (file != folder && folder != "." && !strings.HasPrefix(file, folder+"/")) || file == ".." || strings.HasPrefix(file, "../") {
		return ""
	}
	return file
}
