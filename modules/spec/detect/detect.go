// Package detect finds out what a source is and turns it into a service specification: a compose file, else a
// Dockerfile, else pages. It reads names and small files of an upload and never runs, builds or unpacks anything.
package detect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pandu/modules/kit/fault"
	"pandu/modules/spec"
	"pandu/modules/spec/compose"
)

// Files is an upload that can be looked into; kit/archive's Archive is one, after Index or Check.
type Files interface {
	// Exists reports whether there is a file or folder of this slash-separated path.
	Exists(path string) bool
	// List names what is directly in a folder ("." for the root), sorted, folders with a slash at the end.
	List(folder string) []string
	// ReadFile reads a file of at most limit bytes.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
}

// Kind is what a source was recognised as.
type Kind string

// The kinds.
const (
	Compose    Kind = "compose"
	Dockerfile Kind = "dockerfile"
	Static     Kind = "static"
	Image      Kind = "image"
)

// Detection is what a source is and what it says shall run.
type Detection struct {
	Kind        Kind
	File        string // what decided it: "compose.yaml", "Dockerfile", "public/index.html"; empty for an image
	Application spec.Application
}

// composeNames in the order that compose itself prefers them.
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}

const (
	dockerfileName = "Dockerfile"
	indexName      = "index.html"
	serviceName    = "web" // of everything that is one service
)

// siteFolders are where tools put pages that are ready to be served.
var siteFolders = []string{"public", "dist", "build"}

// Detect looks for a compose file, then a Dockerfile, then index.html in the root or in one of public, dist and build.
// Problems of a compose file come as compose.Fault makes them (compose_refused). An upload with nothing to run is
// nothing_to_run, one with several folders of pages static_unclear.
func Detect(ctx context.Context, files Files) (Detection, error) {
	for _, name := range composeNames {
		if file(files, name) {
			return fromCompose(ctx, files, name)
		}
	}
	if file(files, dockerfileName) {
		return fromDockerfile(), nil
	}
	return fromPages(files)
}

// file reports whether name is there and no folder.
func file(files Files, name string) bool {
	return files.Exists(name) && !slices.Contains(files.List("."), name+"/")
}

func fromCompose(ctx context.Context, files Files, name string) (Detection, error) {
	data, err := files.ReadFile(ctx, name, compose.MaxSize)
	if err != nil {
		return Detection{}, fmt.Errorf("read compose file: %w", err)
	}
	app, problems := compose.Parse(compose.Input{Name: name, Data: data, Exists: files.Exists})
	if err := compose.Fault(problems); err != nil {
		return Detection{Kind: Compose, File: name}, err
	}
	for _, other := range composeNames {
		if other != name && file(files, other) {
			app.Notes = append(app.Notes, spec.Note{Location: other, Code: "unused", Message: fmt.Sprintf("%s is not used, because there is a %s.", other, name)})
		}
	}
	return Detection{Compose, name, app}, nil
}

// fromDockerfile: one service that gets every variable, listens where the image says, and is not ready before it does.
func fromDockerfile() Detection {
	s := single(&spec.Build{Kind: spec.Dockerfile, Context: ".", Dockerfile: dockerfileName})
	return Detection{Kind: Dockerfile, File: dockerfileName, Application: spec.Application{Services: []spec.Service{s}}}
}

func single(b *spec.Build) spec.Service {
	return spec.Service{
		Name: serviceName, Public: true, Replicas: spec.DefaultReplicas, Build: b,
		Container: spec.Container{AllVariables: true, Listens: true, Restart: spec.RestartAlways, Resources: spec.DefaultResources()},
	}
}

func fromPages(files Files) (Detection, error) {
	folders := []string{}
	for _, folder := range siteFolders {
		if files.Exists(folder + "/" + indexName) {
			folders = append(folders, folder)
		}
	}
	switch {
	case file(files, indexName):
		return pages(".", indexName, nil), nil
	case len(folders) == 1:
		from := folders[0] + "/" + indexName
		note := spec.Note{Location: from, Code: "site_folder", Message: fmt.Sprintf("The pages of the folder %s are served.", folders[0])}
		return pages(folders[0], from, []spec.Note{note}), nil
	case len(folders) > 1:
		return Detection{}, fault.Newf(fault.Invalid, "static_unclear", "There are pages in the folders %s. Upload only the one that shall be served.", strings.Join(folders, " and ")).
			With("folders", strings.Join(folders, ", "))
	}
	return Detection{}, nothing(files.List("."))
}

func pages(folder, from string, notes []spec.Note) Detection {
	s := single(&spec.Build{Kind: spec.Static, Context: folder})
	s.Container.AllVariables = false
	s.Container.Port = spec.StaticPort
	s.Container.Resources = spec.StaticResources()
	s.Ports = []int{spec.StaticPort}
	return Detection{Kind: Static, File: from, Application: spec.Application{Services: []spec.Service{s}, Notes: notes}}
}

// nothing says what was looked for, what is there, and what to do about what is commonly there instead.
func nothing(found []string) error {
	const most = 12
	shown := slices.Clone(found[:min(len(found), most)])
	for i, name := range shown {
		if len(name) > 60 {
			shown[i] = strings.ToValidUTF8(name[:60], "") + "…"
		}
	}
	list := strings.Join(shown, ", ")
	if len(found) > most {
		list += fmt.Sprintf(" and %d more", len(found)-most)
	}
	return fault.Newf(fault.Invalid, "nothing_to_run",
		"There is nothing to run. Looked for %s, %s and %s (also in %s); found %s.%s",
		strings.Join(composeNames, ", "), dockerfileName, indexName, strings.Join(siteFolders, ", "), list, hint(found)).
		With("found", list)
}

// hint recognises projects that lack only a Dockerfile, and files that are nearly right.
func hint(found []string) string {
	for _, name := range found {
		switch lower := strings.ToLower(name); {
		case lower == "dockerfile", slices.Contains(composeNames, lower), lower == indexName:
			return fmt.Sprintf(" %s must be written in exactly this way: %s.", name, map[bool]string{true: dockerfileName, false: lower}[lower == "dockerfile"])
		case strings.HasPrefix(lower, "dockerfile.") || strings.HasSuffix(lower, ".dockerfile"):
			return fmt.Sprintf(" Rename %s to %s, or name it in a compose.yaml.", name, dockerfileName)
		}
	}
	for _, m := range [][2]string{{"package.json", "Node.js"}, {"go.mod", "Go"}, {"requirements.txt", "Python"}, {"pyproject.toml", "Python"}, {"Gemfile", "Ruby"}, {"composer.json", "PHP"}, {"Cargo.toml", "Rust"}, {"pom.xml", "Java"}} {
		if slices.Contains(found, m[0]) {
			return fmt.Sprintf(" This looks like a %s project: add a Dockerfile that builds and starts it.", m[1])
		}
	}
	return ""
}

// FromImage is the application of a lone image reference. Faults: image_reference, image_registry.
func FromImage(reference string) (Detection, error) {
	full, err := spec.ImageReference(reference)
	if err != nil {
		return Detection{}, err
	}
	s := single(&spec.Build{Kind: spec.Import, Reference: full})
	return Detection{Kind: Image, Application: spec.Application{Services: []spec.Service{s}}}, nil
}
