package builds

import (
	"errors"
	"strings"
	"testing"
)

const panel = "127.0.0.1:5555"

func TestJudgeRefuses(t *testing.T) {
	tests := map[string]struct {
		text string
		args map[string]string
		want string // in the message
	}{
		"foreign frontend":           {text: "# syntax=evil/frontend:1\nFROM scratch\n", want: "Dockerfile:1: The frontend \"evil/frontend:1\""},
		"frontend by look alike":     {text: "# syntax=docker/dockerfile-evil\nFROM scratch\n", want: "frontend"},
		"frontend on another host":   {text: "# syntax=evil.example/docker/dockerfile:1\nFROM scratch\n", want: "frontend"},
		"frontend in C style":        {text: "// syntax=evil/frontend\nFROM scratch\n", want: "frontend"},
		"frontend after a directive": {text: "# escape=`\n# syntax=evil/frontend\nFROM scratch\n", want: "Dockerfile:2: The frontend"},
		"frontend in JSON":           {text: "{\"syntax\":\"evil/frontend\"}", want: "frontend"},
		"frontend by argument":       {text: "FROM scratch\n", args: map[string]string{"BUILDKIT_SYNTAX": "evil/x"}, want: "BUILDKIT_SYNTAX"},
		"panel's registry":           {text: "FROM scratch\nFROM 127.0.0.1:5555/other/app\n", want: "Dockerfile:2: The image"},
		"loopback registry":          {text: "FROM localhost:5000/app\n", want: "private address"},
		"loopback by name":           {text: "FROM panel.localhost/app\n", want: "private address"},
		"private registry":           {text: "FROM 10.1.2.3:5000/app\n", want: "private address"},
		"IPv6 registry":              {text: "FROM [::1]:5000/app\n", want: "not allowed"},
		"image id":                   {text: "FROM sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", want: "by its id"},
		"short image id":             {text: "FROM aaaaaaaaaaaa\n", want: "by its id"},
		"panel's registry by ARG":    {text: "ARG HOST=127.0.0.1:5555\nFROM ${HOST}/other/app\n", want: "Dockerfile:2"},
		"ARG from outside":           {text: "ARG BASE=debian\nFROM $BASE\n", args: map[string]string{"BASE": "127.0.0.1:5555/o/a"}, want: "Dockerfile:2"},
		"ARG with a default":         {text: "FROM ${NONE:-localhost:5000/x}\n", want: "Dockerfile:1"},
		"COPY from":                  {text: "FROM scratch\nCOPY --from=127.0.0.1:5555/o/a / /\n", want: "Dockerfile:2"},
		"COPY from on two lines":     {text: "FROM scratch\n\nCOPY \\\n --from=localhost/o/a / /\n", want: "Dockerfile:3"},
		"mount from":                 {text: "FROM scratch\nRUN --mount=type=bind,from=127.0.0.1:5555/o/a,target=/x [\"/x/y\"]\n", want: "Dockerfile:2"},
		"ADD loopback":               {text: "FROM scratch\nADD http://127.0.0.1:8080/admin /x\n", want: "Dockerfile:2: ADD from"},
		"ADD metadata":               {text: "FROM scratch\nADD http://169.254.169.254/latest/meta-data /x\n", want: "ADD from"},
		"ADD metadata by name":       {text: "FROM scratch\nADD http://metadata.google.internal/x /x\n", want: "ADD from"},
		"ADD private":                {text: "FROM scratch\nADD https://192.168.1.1/x /x\n", want: "ADD from"},
		"ADD shared space":           {text: "FROM scratch\nADD https://100.64.0.1/x /x\n", want: "ADD from"},
		"ADD decimal":                {text: "FROM scratch\nADD http://2130706433/x /x\n", want: "ADD from"},
		"ADD hexadecimal":            {text: "FROM scratch\nADD http://0x7f.0.0.1/x /x\n", want: "ADD from"},
		"ADD short":                  {text: "FROM scratch\nADD http://127.1/x /x\n", want: "ADD from"},
		"ADD IPv6":                   {text: "FROM scratch\nADD http://[::1]/x /x\n", want: "ADD from"},
		"ADD mapped":                 {text: "FROM scratch\nADD http://[::ffff:127.0.0.1]/x /x\n", want: "ADD from"},
		"ADD with a dot at the end":  {text: "FROM scratch\nADD http://localhost./x /x\n", want: "ADD from"},
		"ADD with a login":           {text: "FROM scratch\nADD http://example.com@127.0.0.1/x /x\n", want: "ADD from"},
		"ADD by ARG":                 {text: "FROM scratch\nARG H=127.0.0.1\nADD http://$H/x /x\n", want: "Dockerfile:3: ADD from"},
		"ADD by ENV":                 {text: "FROM scratch\nENV H=127.0.0.1\nADD http://$H/x /x\n", want: "ADD from"},
		"ADD of git":                 {text: "FROM scratch\nADD git@10.0.0.1:x/y.git /x\n", want: "ADD from"},
		"second source of ADD":       {text: "FROM scratch\nADD https://example.com/a http://127.0.0.1/b /x/\n", want: "ADD from"},
		"ssh":                        {text: "FROM scratch\nRUN --mount=type=ssh [\"/x\"]\n", want: "type=ssh"},
		"ssh by ARG":                 {text: "FROM scratch\nARG T=ssh\nRUN --mount=type=$T [\"/x\"]\n", want: "type=ssh"},
		"host network":               {text: "FROM scratch\nRUN --network=host [\"/x\"]\n", want: "--network=host"},
		"privileged":                 {text: "FROM scratch\nRUN --security=insecure [\"/x\"]\n", want: "--security=insecure"},
		"device":                     {text: "FROM scratch\nRUN --device=vendor.com/x=y [\"/x\"]\n", want: "--device"},
		"ONBUILD ADD":                {text: "FROM scratch\nONBUILD ADD http://169.254.169.254/x /x\n", want: "Dockerfile:2: ONBUILD ADD from"},
		"ONBUILD COPY from":          {text: "FROM scratch\nONBUILD COPY --from=localhost/a / /\n", want: "Dockerfile:2: ONBUILD The image"},
		"not a Dockerfile":           {text: "hello\n", want: "unknown instruction"},
		"empty":                      {text: "", want: "Dockerfile"},
		"binary":                     {text: "\x00\xff\n", want: "Dockerfile"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := judge("Dockerfile", []byte(test.text), test.args, panel)
			var f *failure
			if !errors.As(err, &f) || f.code != codeDockerfile || f.passing || !strings.Contains(f.message, test.want) {
				t.Errorf("judge = %v, want a refusal with %q", err, test.want)
			}
		})
	}
}

func TestJudgeAllows(t *testing.T) {
	for _, text := range []string{
		"# syntax=docker/dockerfile:1\nFROM golang:1.26 AS build\nWORKDIR /src\nCOPY . .\nRUN --mount=type=cache,target=/root/.cache go build -o /app\nFROM scratch\nCOPY --from=build /app /app\nCMD [\"/app\"]\n",
		"# syntax = docker.io/docker/dockerfile:1.7-labs\nFROM node:20\nRUN --mount=type=secret,id=NPM npm ci\n",
		"FROM ghcr.io/acme/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nADD https://example.com/x.tar.gz /x\nADD local.tar /y\n",
		"ARG V=3\nFROM python:$V\nRUN --network=none pip list\nRUN --security=sandbox true\n",
		"FROM scratch AS a\nFROM a AS b\nCOPY --from=0 /x /x\nCOPY --from=A /x /x\n",
		"FROM registry.example.com:5000/team/app:1\nRUN <<EOF\ncurl http://127.0.0.1/ || true\nEOF\n",
		"FROM debian\nONBUILD COPY . /src\nONBUILD RUN make\n",
		"FROM 8.8.8.8:5000/x\nADD https://1.1.1.1/x /x\n",
	} {
		if err := judge("Dockerfile", []byte(text), map[string]string{"ANY": "x"}, panel); err != nil {
			t.Errorf("judge = %v of\n%s", err, text)
		}
	}
}

// FuzzJudge looks for input that makes the parser or us panic.
func FuzzJudge(f *testing.F) {
	f.Add("FROM $A\nRUN --mount=type=$B x\nADD http://$C /x\nONBUILD RUN x\n")
	f.Add("# syntax=x\nFROM scratch\n")
	f.Fuzz(func(t *testing.T, text string) {
		err := judge("Dockerfile", []byte(text), map[string]string{"A": "127.0.0.1:5555/x"}, panel)
		var f *failure
		if err != nil && (!errors.As(err, &f) || f.message == "") {
			t.Errorf("judge = %v, want a failure with a sentence", err)
		}
	})
}

func TestImportNames(t *testing.T) {
	for text, want := range map[string]string{
		"nginx":                   "docker.io/library/nginx:latest",
		"acme/app:2":              "docker.io/acme/app:2",
		"ghcr.io/acme/app":        "ghcr.io/acme/app:latest",
		"127.0.0.1:5555/acme/app": "",
		"localhost/app":           "",
		"192.168.0.4/app":         "",
		"acme/UPPER":              "",
		"":                        "",
		"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": "",
	} {
		named, err := importName(text, panel)
		switch {
		case want == "" && err == nil:
			t.Errorf("importName(%q) = %v, want a refusal", text, named)
		case want != "" && (err != nil || named.String() != want):
			t.Errorf("importName(%q) = %v, %v, want %s", text, named, err, want)
		}
	}
}
