package builds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"

	"pandu/modules/agent/agentv1"
	"pandu/modules/kit/archive"
	"pandu/modules/kit/fault"
)

// openSource fetches and unpacks the source and opens the folder to build, inside it. The caller closes the root.
func (a *attempt) openSource(ctx context.Context) (*os.Root, error) {
	a.enter(phaseSource)
	packed := filepath.Join(a.dir, "source")
	if err := a.download(ctx, packed); err != nil {
		return nil, err
	}
	dir := filepath.Join(a.dir, "files")
	if err := a.unpack(ctx, packed, dir); err != nil {
		return nil, err
	}
	if err := os.Remove(packed); err != nil {
		return nil, diskFailure("remove the archive", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, diskFailure("open the source", err)
	}
	folder := path.Clean(a.spec.Context)
	if folder == "." || a.spec.Context == "" {
		return root, nil
	}
	defer root.Close()
	inner, err := root.OpenRoot(filepath.FromSlash(folder))
	if err != nil {
		return nil, failed(codeSource, "The folder %q to build is not in the source.", a.spec.Context).because(err)
	}
	return inner, nil
}

// download writes the archive of this attempt to a file, and no more than an archive may have.
func (a *attempt) download(ctx context.Context, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.service.deps.Client.Source(ctx, connect.NewRequest(&agentv1.BuildSourceRequest{AttemptId: a.GetAttemptId()}))
	if err != nil {
		return sourceFailure(err)
	}
	defer stream.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return diskFailure("make a file for the source", err)
	}
	defer file.Close()
	limit := archive.DefaultLimits().Packed
	for size := int64(0); stream.Receive(); {
		data := stream.Msg().GetData()
		if size += int64(len(data)); size > limit {
			return failed(codeSource, "The source is larger than %d MiB.", limit>>20)
		}
		if _, err := file.Write(data); err != nil {
			return diskFailure("write the source", err)
		}
	}
	if err := stream.Err(); err != nil {
		return sourceFailure(err)
	}
	if err := file.Close(); err != nil {
		return diskFailure("write the source", err)
	}
	return nil
}

func sourceFailure(err error) *failure {
	if lost(err) {
		return failed(codeSource, "The source of this build is not there any more. Upload it again.").because(err)
	}
	return failed(codeSource, "The source could not be fetched from the panel.").again().because(err)
}

func (a *attempt) unpack(ctx context.Context, packed, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return diskFailure("make a folder for the source", err)
	}
	in, err := archive.Open(packed)
	if err != nil {
		return archiveFailure(err)
	}
	defer in.Close()
	if err := in.Extract(ctx, dir); err != nil {
		return archiveFailure(err)
	}
	return nil
}

// archiveFailure passes on what the archive was refused for; anything else happened on this server.
func archiveFailure(err error) error {
	var refused *fault.Error
	if errors.As(err, &refused) && !fault.Passing(err) {
		return failed(codeSource, "%s", refused.Message).because(err)
	}
	return diskFailure("unpack the source", err)
}

// fetchSecrets asks for the build variables of this attempt and has the log hide their values.
func (a *attempt) fetchSecrets(ctx context.Context) error {
	if !a.GetHasVariables() {
		return nil
	}
	answer, err := a.service.deps.Secrets.Variables(ctx, connect.NewRequest(&agentv1.VariablesRequest{BuildAttemptId: a.GetAttemptId()}))
	if err != nil {
		return failed(codeSource, "The build variables could not be fetched from the panel.").again().because(err)
	}
	a.secrets = answer.Msg.GetVariables()
	a.journal.hide(a.secrets)
	return nil
}

// readAll reads a file of the source that must be small.
func readAll(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(filepath.FromSlash(strings.TrimPrefix(path.Clean("/"+name), "/")))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read %s: longer than %d KiB", name, limit>>10)
	}
	return data, err
}
