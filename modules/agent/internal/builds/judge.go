package builds

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// dockerfileLimit is the longest Dockerfile that is read.
const dockerfileLimit = 1 << 20

// judge reads a Dockerfile with BuildKit's parser and refuses what must not reach the Engine. name is its path for
// messages, args the build arguments, registry the host:port of the panel's registry. Errors are *failure.
func judge(name string, text []byte, args map[string]string, registry string) error {
	j := &judging{name: name, registry: registry, env: map[string]string{}, stages: map[string]bool{}}
	for key := range args {
		if strings.HasPrefix(strings.ToUpper(key), "BUILDKIT_") {
			return failed(codeDockerfile, "The build argument %s steers the builder itself and is not allowed. Remove it.", key)
		}
	}
	if syntax, _, at, found := parser.DetectSyntax(text); found && !ownSyntax.MatchString(strings.TrimSpace(syntax)) {
		return j.refuse(at, "The frontend %q is not allowed: it would run as part of the builder. Use docker/dockerfile or remove the syntax line.", syntax)
	}
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return failed(codeDockerfile, "%s: %v.", name, err)
	}
	j.lex = shell.NewLex(result.EscapeToken)
	stages, meta, err := instructions.Parse(result.AST, nil)
	if err != nil {
		return failed(codeDockerfile, "%s: %v.", name, err)
	}
	j.declare(meta, args)
	for i, stage := range stages {
		if err := j.stage(stage, args); err != nil {
			return err
		}
		j.stages[strings.ToLower(stage.Name)] = true
		j.stages[fmt.Sprint(i)] = true
	}
	return nil
}

var ownSyntax = regexp.MustCompile(`^(docker\.io/)?docker/dockerfile(:[A-Za-z0-9._-]+)?(@sha256:[0-9a-f]{64})?$`)

type judging struct {
	name     string
	registry string
	lex      *shell.Lex
	env      map[string]string // what is known of arguments
	stages   map[string]bool   // names and numbers of the stages so far
}

func (j *judging) refuse(at []parser.Range, format string, args ...any) *failure {
	where := j.name
	if len(at) > 0 {
		where = fmt.Sprintf("%s:%d", j.name, max(at[0].Start.Line, 1))
	}
	return failed(codeDockerfile, "%s: %s", where, fmt.Sprintf(format, args...))
}

// declare puts ARGs into what is known; a build argument wins over the default.
func (j *judging) declare(meta []instructions.ArgCommand, args map[string]string) {
	for _, m := range meta {
		for _, a := range m.Args {
			if v, given := args[a.Key]; given {
				j.env[a.Key] = v
			} else if a.Value != nil {
				j.env[a.Key] = j.expand(*a.Value)
			}
		}
	}
}

// expand replaces what is known; what is not stays empty, as it does in a build.
func (j *judging) expand(word string) string {
	var list []string
	for k, v := range j.env {
		list = append(list, k+"="+v)
	}
	out, _, err := j.lex.ProcessWord(word, shell.EnvsFromSlice(list))
	if err != nil {
		return word
	}
	return out
}

func (j *judging) stage(stage instructions.Stage, args map[string]string) error {
	if err := j.image(stage.Location, j.expand(stage.BaseName)); err != nil {
		return err
	}
	for _, command := range stage.Commands {
		if err := j.command(command, args); err != nil {
			return err
		}
	}
	return nil
}

func (j *judging) command(command instructions.Command, args map[string]string) error {
	switch c := command.(type) {
	case *instructions.ArgCommand:
		j.declare([]instructions.ArgCommand{*c}, args)
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			j.env[kv.Key] = j.expand(kv.Value)
		}
	case *instructions.CopyCommand:
		if c.From != "" {
			return j.image(c.Location(), j.expand(c.From))
		}
	case *instructions.AddCommand:
		for _, source := range c.SourcePaths {
			if err := j.add(c.Location(), j.expand(source)); err != nil {
				return err
			}
		}
	case *instructions.RunCommand:
		return j.run(c)
	case *instructions.OnbuildCommand:
		return j.onbuild(c, args)
	}
	return nil
}

// onbuild judges the instruction that would run in a later build of this image.
func (j *judging) onbuild(c *instructions.OnbuildCommand, args map[string]string) error {
	result, err := parser.Parse(strings.NewReader(c.Expression))
	if err != nil || len(result.AST.Children) != 1 {
		return j.refuse(c.Location(), "The instruction after ONBUILD cannot be read.")
	}
	inner, err := instructions.ParseCommand(result.AST.Children[0])
	if err != nil {
		return j.refuse(c.Location(), "The instruction after ONBUILD cannot be read: %v.", err)
	}
	if err := j.command(inner, args); err != nil {
		return j.refuse(c.Location(), "ONBUILD %s", strings.TrimPrefix(err.Error(), j.name+":1: "))
	}
	return nil
}

func (j *judging) run(c *instructions.RunCommand) error {
	for _, flag := range c.FlagsUsed {
		if strings.EqualFold(flag, "device") {
			return j.refuse(c.Location(), "RUN --device is not allowed: builds get no devices. Remove the flag.")
		}
	}
	if instructions.GetSecurity(c) != instructions.SecuritySandbox {
		return j.refuse(c.Location(), "RUN --security=%s is not allowed: builds are never privileged. Remove the flag.", instructions.GetSecurity(c))
	}
	if instructions.GetNetwork(c) == instructions.NetworkHost {
		return j.refuse(c.Location(), "RUN --network=host is not allowed: a build may not use the server's own network. Remove the flag.")
	}
	// The types of mounts are only known after expansion.
	if err := c.Expand(func(word string) (string, error) { return j.expand(word), nil }); err != nil {
		return j.refuse(c.Location(), "%v.", err)
	}
	for _, m := range instructions.GetMounts(c) {
		if m.Type == instructions.MountTypeSSH {
			return j.refuse(c.Location(), "RUN --mount=type=ssh is not allowed: there are no SSH keys here. Use a build variable with --mount=type=secret.")
		}
		if m.From != "" {
			if err := j.image(c.Location(), j.expand(m.From)); err != nil {
				return err
			}
		}
	}
	return nil
}

var imageID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{12,64}$`)

// image refuses references to images of this server or of the panel's registry: other tenants' builds.
func (j *judging) image(at []parser.Range, ref string) error {
	if ref == "" || strings.EqualFold(ref, "scratch") || j.stages[strings.ToLower(ref)] {
		return nil
	}
	if reason := foreignImage(ref, j.registry); reason != "" {
		return j.refuse(at, "The image %q is not allowed: %s. Use an image of a public registry.", ref, reason)
	}
	return nil
}

// foreignImage says why a reference must not be used, or "".
func foreignImage(ref, registry string) string {
	if imageID.MatchString(ref) {
		return "it names an image of this server by its id"
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "it is not an image reference"
	}
	host := reference.Domain(named)
	if strings.EqualFold(host, registry) {
		return "it is in the panel's own registry"
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if local(host) {
		return "it is on the build server itself or on a private address"
	}
	return ""
}

// add refuses URLs that the Engine would fetch from its own network.
func (j *judging) add(at []parser.Range, source string) error {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		if rest, git := strings.CutPrefix(source, "git@"); git {
			host, _, _ := strings.Cut(rest, ":")
			u = &url.URL{Host: host}
		} else {
			return nil // a path inside the context
		}
	}
	if local(u.Hostname()) {
		return j.refuse(at, "ADD from %q is not allowed: the address is private. Put the file into the upload.", u.Host)
	}
	return nil
}

// local says that a host is the server itself or an address that only its network knows. Names are judged by their look
// only: the Engine resolves them.
func local(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".local") ||
		host == "metadata" || host == "host.docker.internal" {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		return !addr.IsGlobalUnicast() || addr.IsPrivate() || sharedSpace.Contains(addr)
	}
	// Decimal, octal, hexadecimal or short spellings of an address ("2130706433", "0x7f.1") are never honest names.
	return oddAddress.MatchString(host)
}

var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	oddAddress  = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*$`)
)
