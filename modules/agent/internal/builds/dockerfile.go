package builds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	"github.com/moby/patternmatcher"
)

// The label on every image made here. It is the same for every build of a repository: a build of the same source must
// give the same image, so that a release of it keeps its instances.
const labelRepository = "pandu.repository"

func (a *attempt) makeDockerfile(ctx context.Context) (built, error) {
	root, err := a.openSource(ctx)
	if err != nil {
		return built{}, err
	}
	defer root.Close()
	name, ignored, err := a.prepare(root)
	if err != nil {
		return built{}, err
	}
	a.enter(phaseBuild)
	hold := a.limit(ctx)
	defer hold.release()
	image, err := a.solve(ctx, root, name, ignored, hold)
	if err != nil {
		return built{}, err
	}
	return a.publish(ctx, image)
}

// prepare finds and judges the Dockerfile and reads what the context leaves out.
func (a *attempt) prepare(root *os.Root) (name string, ignored *patternmatcher.PatternMatcher, err error) {
	if a.spec.Inline != "" {
		ignored, err = ignoring(root, "")
		if err == nil {
			err = judge("Dockerfile", []byte(a.spec.Inline), a.spec.Args, a.service.deps.Registry)
		}
		return inlineName, ignored, err
	}
	name = strings.TrimPrefix(path.Clean("/"+a.spec.Dockerfile), "/")
	if name == "" {
		name = "Dockerfile"
	}
	text, err := readAll(root, name, dockerfileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, failed(codeDockerfile, "There is no %s in %s.", name, a.folder()).because(err)
	}
	if err != nil {
		return "", nil, failed(codeDockerfile, "%s cannot be read.", name).because(err)
	}
	if err := judge(name, text, a.spec.Args, a.service.deps.Registry); err != nil {
		return "", nil, err
	}
	ignored, err = ignoring(root, name)
	return name, ignored, err
}

func (a *attempt) folder() string {
	if c := path.Clean(a.spec.Context); c != "." {
		return "the folder " + c + " of the source"
	}
	return "the source"
}

// solve has the Engine build and returns the image's id.
func (a *attempt) solve(ctx context.Context, root *os.Root, name string, ignored *patternmatcher.PatternMatcher, hold *hold) (string, error) {
	sess, err := a.openSession(ctx)
	if err != nil {
		return "", err
	}
	defer sess.Close()
	read, write := io.Pipe()
	defer read.Close()
	packed := make(chan error, 1)
	go func() {
		err := writeContext(write, root, ignored, a.spec.Inline)
		write.CloseWithError(err)
		packed <- err
	}()
	defer a.cancelBuild(ctx)()
	answer, err := a.service.engine.ImageBuild(ctx, read, a.options(name, sess.ID()))
	if err != nil {
		return "", engineFailure(err)
	}
	defer answer.Body.Close()
	t := newTrace(a.journal.line)
	if err := drain(answer.Body, t.message); err != nil {
		read.CloseWithError(err)
		if perr := <-packed; perr != nil && !errors.Is(perr, err) && !errors.Is(perr, io.ErrClosedPipe) {
			return "", diskFailure("pack the project's files", perr)
		}
		return "", buildFailure(err, t, hold)
	}
	if t.image == "" {
		return "", failed(codeEngine, "The Engine ended the build without an image.").again()
	}
	return t.image, nil
}

func (a *attempt) options(dockerfile, sessionID string) client.ImageBuildOptions {
	args := map[string]*string{}
	for k, v := range a.spec.Args {
		args[k] = &v
	}
	return client.ImageBuildOptions{
		Version:    build.BuilderBuildKit,
		Tags:       []string{a.tag()},
		Dockerfile: dockerfile,
		Target:     a.spec.Target,
		BuildArgs:  args,
		Labels:     map[string]string{labelRepository: a.GetRepository()},
		SessionID:  sessionID,
		BuildID:    a.GetAttemptId(),
		Remove:     true,
	}
}

// tag is the image's local name; the registry keeps it by digest.
func (a *attempt) tag() string {
	return a.service.deps.Registry + "/" + a.GetRepository() + ":" + a.GetAttemptId()
}

// openSession offers the build variables to RUN --mount=type=secret,id=NAME for as long as the session is open.
func (a *attempt) openSession(ctx context.Context) (*session.Session, error) {
	sess, err := session.NewSession(ctx, a.GetBuildId())
	if err != nil {
		return nil, fmt.Errorf("make build session: %w", err)
	}
	values := map[string][]byte{}
	for k, v := range a.secrets {
		values[k] = []byte(v)
	}
	sess.Allow(secretsprovider.FromMap(values))
	connected := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- sess.Run(ctx, func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			conn, err := a.service.engine.DialHijack(ctx, "/session", proto, meta)
			if err == nil {
				close(connected)
			}
			return conn, err
		})
	}()
	select {
	case <-connected:
		return sess, nil
	case err := <-ended:
		return nil, engineFailure(err)
	}
}

// cancelBuild makes sure that a build that is no longer wanted ends in the Engine, too: older Engines do not notice that
// its caller hung up.
func (a *attempt) cancelBuild(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = a.service.engine.BuildCancel(ctx, a.GetAttemptId(), client.BuildCancelOptions{}) // hanging up was the first try
	})
}

// drain hands each message of an Engine's stream to take, until its end or an error.
func drain(body io.Reader, take func(jsonstream.Message) error) error {
	for in := newDecoder(body); ; {
		var m jsonstream.Message
		err := in.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from engine: %w", errors.Join(errBroken, err))
		}
		if err := take(m); err != nil {
			return err
		}
	}
}

// errBroken says that the connection to the Engine broke, not the build.
var errBroken = errors.New("connection to the engine broke")

func engineFailure(err error) *failure {
	return failed(codeEngine, "The Docker Engine of the build server does not answer or refused the build.").again().because(err)
}

var (
	exitCode    = regexp.MustCompile(`exit code: (\d+)`)
	unreachable = regexp.MustCompile(`(?i)dial tcp|i/o timeout|tls handshake|connection re(fused|set)|no such host|server misbehaving|unexpected status.*(429|5\d\d)|too many requests|toomanyrequests|temporary failure`)
	noImage     = regexp.MustCompile(`(?i)pull access denied|failed to resolve source metadata|manifest unknown|failed to load metadata|repository does not exist|: not found$`)
)

// buildFailure says why a build that BuildKit began has no image.
func buildFailure(err error, t *trace, hold *hold) *failure {
	text := strings.TrimPrefix(err.Error(), "engine: ")
	where := "The build"
	if t.wrong != nil {
		where = fmt.Sprintf("The step %q", t.wrong.name)
	}
	code := exitCode.FindStringSubmatch(text)
	fromImage := t.wrong != nil && (strings.Contains(t.wrong.name, "load metadata for") || strings.Contains(t.wrong.name, "FROM "))
	switch {
	case errors.Is(err, errBroken):
		return failed(codeEngine, "The Docker Engine broke off the build.").again().because(err)
	case strings.Contains(text, "no space left on device"):
		return failed(codeEngine, "The disk of the build server is full. Its operator has to make room; then build again.").because(err)
	case code != nil && code[1] == "137" && hold.exhausted():
		return failed(codeMemory, "%s was ended because it used more than its %s of memory. Raise the build's memory or use less.", where, hold.size()).because(err)
	case code != nil:
		return failed(codeCommand, "%s failed with exit code %s.", where, code[1]).because(err)
	case fromImage && unreachable.MatchString(text):
		return failed(codeImage, "%s failed: the registry of a base image cannot be reached.", where).again().because(err)
	case fromImage && noImage.MatchString(text):
		return failed(codeImage, "%s failed: the base image does not exist or is private.", where).because(err)
	case t.wrong != nil && strings.Contains(text, "executor failed running"), strings.Contains(text, "did not complete successfully"):
		return failed(codeCommand, "%s failed: %s.", where, brief(text)).because(err)
	default:
		return failed(codeDockerfile, "%s failed: %s.", where, brief(text)).because(err)
	}
}

// brief cuts a message of the Engine to something that fits in a sentence.
func brief(text string) string {
	text = strings.TrimSuffix(strings.TrimSpace(text), ".")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}
