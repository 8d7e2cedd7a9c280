package builds

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/moby/moby/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"pandu/modules/spec"
)

func dockerfile(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

// fresh keeps the Engine's cache of an earlier run of the tests out of it.
func fresh() string { return "ENV RUN=" + uuid.NewString() }

func TestDockerfileBuilds(t *testing.T) {
	b := newBench(t)
	files := map[string]string{
		"app/Dockerfile": dockerfile("FROM scratch AS base", fresh(), "ARG WORD=none", "COPY step /step", `RUN ["/step", "print", "hello from the build"]`,
			"FROM base", "COPY . /src", "EXPOSE 8080 53/udp 9000-9002", "VOLUME /data", "USER 1000", "ENV WORD=$WORD",
			`HEALTHCHECK --interval=7s --retries=2 CMD ["/step", "print", "ok"]`),
		"app/step":          string(stepProgram(t)),
		"app/secret.txt":    "not for the image",
		"app/keep.txt":      "for the image",
		"app/.dockerignore": "secret.txt\nDockerfile\n",
		"other/file":        "x",
	}
	a := b.attempt(spec.Build{Kind: spec.Dockerfile, Context: "app", Args: map[string]string{"WORD": "given"}}, files)
	first := b.build(a)
	if first.GetErrorCode() != "" {
		t.Fatalf("failed: %v\n%s", first, b.log(a))
	}
	var config spec.ImageConfig
	if err := json.Unmarshal(first.GetImage(), &config); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Ports, []int{8080, 9000, 9001, 9002}) || !slices.Equal(config.Volumes, []string{"/data"}) || config.User != "1000" {
		t.Errorf("config = %+v", config)
	}
	if h := config.Health; h == nil || h.Kind != spec.HealthCommand || h.Command[0] != "/step" || h.Interval != spec.Duration(7*time.Second) || h.Retries != 2 {
		t.Errorf("health = %+v", h)
	}
	if log := b.log(a); !strings.Contains(log, "RUN [\"/step\"") || !strings.Contains(log, " hello from the build\n") || strings.Contains(log, "buildkit-session") {
		t.Errorf("log:\n%s", log)
	}
	for _, phase := range []string{phaseSource, phaseBuild, phasePush} {
		if !b.manager.phases[phase] {
			t.Errorf("phase %s was never told", phase)
		}
	}
	b.checkFiles(a.GetRepository(), first.GetDigest(), "src/keep.txt", "src/secret.txt")

	again := b.attempt(spec.Build{Kind: spec.Dockerfile, Context: "app", Args: map[string]string{"WORD": "given"}}, files)
	second := b.build(again)
	if log := b.log(again); !strings.Contains(log, "CACHED") || strings.Contains(log, " hello from the build\n") {
		t.Errorf("the second build was not cached:\n%s", log)
	}
	if second.GetDigest() != first.GetDigest() {
		t.Errorf("the same source gave %s and %s", first.GetDigest(), second.GetDigest())
	}
}

// checkFiles pulls the image by digest and looks for a file that must be there and one that must not.
func (b *bench) checkFiles(repository, digest, there, not string) {
	b.t.Helper()
	names := b.files(repository, digest)
	if !slices.Contains(names, there) || slices.Contains(names, not) {
		b.t.Errorf("files = %v, want %s and not %s", names, there, not)
	}
}

func TestDockerfileFailures(t *testing.T) {
	b := newBench(t)
	program := string(stepProgram(t))
	tests := map[string]struct {
		lines     []string
		build     spec.Build
		code      string
		message   string
		lastLines string
		passing   bool
	}{
		"command":      {lines: []string{"FROM scratch", "COPY step /step", `RUN ["/step", "fail", "7"]`}, code: codeCommand, message: "exit code 7", lastLines: "about to fail"},
		"unknown word": {lines: []string{"FROM scratch", "FETCH x"}, code: codeDockerfile, message: "unknown instruction: FETCH"},
		"missing file": {lines: []string{"FROM scratch", "COPY nowhere /x"}, code: codeDockerfile, message: "nowhere"},
		"no target":    {lines: []string{"FROM scratch", "COPY step /x"}, build: spec.Build{Target: "prod"}, code: codeDockerfile, message: "prod"},
		"no base":      {lines: []string{"FROM registry.invalid/nothing:1", "COPY step /x"}, code: codeImage, message: "cannot be reached", passing: true},
		"refused":      {lines: []string{"FROM 127.0.0.1:5000/acme/x", "COPY step /x"}, code: codeDockerfile, message: "Dockerfile:1"},
		"memory":       {lines: []string{"FROM scratch", "COPY step /step", `RUN ["/step", "eat"]`}, build: spec.Build{Memory: 96 << 20}, code: codeMemory, message: "96 MiB"},
		"time":         {lines: []string{"FROM scratch", "COPY step /step", `RUN ["/step", "hang"]`}, build: spec.Build{TimeLimit: spec.Duration(3 * time.Second)}, code: codeTimeout, message: "3s"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.build.Kind = spec.Dockerfile
			a := b.attempt(test.build, map[string]string{"Dockerfile": dockerfile(test.lines...), "step": program})
			r := b.build(a)
			if r.GetErrorCode() != test.code || !strings.Contains(r.GetError(), test.message) || r.GetRetryable() != test.passing || r.GetDigest() != "" {
				t.Errorf("result = %v\n%s", r, b.log(a))
			}
			if len(r.GetLastLines()) > lastLines || !strings.Contains(strings.Join(r.GetLastLines(), "\n"), test.lastLines) {
				t.Errorf("last lines = %q", r.GetLastLines())
			}
			if !strings.Contains(b.log(a), r.GetError()) {
				t.Errorf("the log does not say why:\n%s", b.log(a))
			}
		})
	}
}

func TestSecretsStaySecret(t *testing.T) {
	b := newBench(t)
	const secret = "sk-canary-7Q2"
	b.manager.variables = map[string]string{"TOKEN": secret, "SHORT": "ab"}
	a := b.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"step": string(stepProgram(t)), "Dockerfile": dockerfile(
		"FROM scratch", fresh(), "COPY step /step", `RUN --mount=type=secret,id=TOKEN ["/step", "secret", "TOKEN"]`, `RUN ["/step", "print", "tab"]`)})
	a.HasVariables = true
	r := b.build(a)
	if r.GetErrorCode() != "" {
		t.Fatalf("failed: %v\n%s", r, b.log(a))
	}
	log := b.log(a)
	if strings.Contains(log, secret) || !strings.Contains(log, "the secret is ***, of 13 bytes") || !strings.Contains(log, "tab") {
		t.Errorf("log:\n%s", log)
	}
	reference := b.registry + "/" + a.GetRepository() + "@" + r.GetDigest()
	history, err := docker.Client.ImageHistory(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	inspect, err := docker.Client.ImageInspect(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal([]any{history, inspect})
	if err != nil || strings.Contains(string(all), secret) {
		t.Errorf("the secret is in the image: %v", err)
	}
	if names := b.files(a.GetRepository(), r.GetDigest()); slices.Contains(names, "run/secrets/TOKEN") && b.content(a.GetRepository(), r.GetDigest(), "run/secrets/TOKEN") != "" {
		t.Error("the secret is in a layer")
	}
}

func TestBuildIsCancelled(t *testing.T) {
	b := newBench(t)
	hanging := map[string]string{"step": string(stepProgram(t)), "Dockerfile": dockerfile("FROM scratch", "COPY step /step", `RUN ["/step", "hang"]`)}
	t.Run("while it builds", func(t *testing.T) {
		a := b.attempt(spec.Build{Kind: spec.Dockerfile}, hanging)
		b.manager.assign(a)
		b.shown(a, "hanging")
		b.manager.mu.Lock()
		b.manager.cancelled[a.GetAttemptId()] = true
		b.manager.mu.Unlock()
		if r := b.result(); r.GetErrorCode() != codeCancelled || r.GetRetryable() {
			t.Errorf("result = %v", r)
		}
		b.idle(t)
	})
	t.Run("while the source comes", func(t *testing.T) {
		a := b.attempt(spec.Build{Kind: spec.Dockerfile}, hanging)
		release := make(chan struct{})
		defer close(release)
		b.manager.mu.Lock()
		b.manager.hold = release
		b.manager.cancelled[a.GetAttemptId()] = true
		b.manager.mu.Unlock()
		if r := b.build(a); r.GetErrorCode() != codeCancelled {
			t.Errorf("result = %v", r)
		}
		b.manager.mu.Lock()
		b.manager.hold = nil
		b.manager.mu.Unlock()
	})
	t.Run("by leaving the list", func(t *testing.T) {
		a := b.attempt(spec.Build{Kind: spec.Dockerfile}, hanging)
		b.manager.assign(a)
		b.shown(a, "hanging")
		b.manager.assign()
		b.idle(t)
		select {
		case r := <-b.manager.results:
			t.Errorf("a result nobody waits for: %v", r)
		default:
		}
	})
}

// idle waits until no attempt runs here and the Engine ended its step, too.
func (b *bench) idle(t *testing.T) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		b.service.mu.Lock()
		running := len(b.service.running)
		b.service.mu.Unlock()
		usage, err := docker.Client.DiskUsage(t.Context(), client.DiskUsageOptions{BuildCache: true, Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		busy := 0
		for _, c := range usage.BuildCache.Items {
			if c.InUse && c.Type == "regular" {
				busy++
			}
		}
		if running == 0 && busy == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d attempts run here, %d cache records are in use in the Engine", running, busy)
		}
	}
}

func TestAttemptRunsAgainAfterAKill(t *testing.T) {
	first := newBench(t)
	a := first.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"step": string(stepProgram(t)), "Dockerfile": dockerfile("FROM scratch", "COPY step /step")})
	a.TimeLimit = durationpb.New(time.Minute)
	left := first.dir + "/" + attemptPrefix + "killed"
	if err := makeFolder(left); err != nil {
		t.Fatal(err)
	}
	if err := sweep(first.dir); err != nil {
		t.Fatal(err)
	}
	mustNotExist(t, left)
	if r := first.build(a); r.GetErrorCode() != "" {
		t.Fatalf("failed: %v", r)
	}
	first.manager.assign(a) // a list that is older than the result
	other := first.attempt(spec.Build{Kind: spec.Dockerfile}, map[string]string{"Dockerfile": "FROM nothing.invalid/x\nRUN x\n"})
	first.manager.assign(a, other)
	if r := first.result(); r.GetAttemptId() != other.GetAttemptId() {
		t.Error("a finished attempt ran again")
	}
}
