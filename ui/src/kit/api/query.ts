import {
  type QueryKey,
  type UseQueryOptions,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query';
import { say } from '../ui/toasts';
import { useConnected } from './live';
import { asProblem, type Problem } from './problem';
import type { Page } from './types';

const unconnectedPoll = 4000;

/** A query whose error is a Problem. While the change stream is away it is asked again every few seconds. */
export function useData<T>(key: QueryKey, fetch: () => Promise<T>, options: Partial<UseQueryOptions<T, Problem>> = {}) {
  const connected = useConnected();
  return useQuery<T, Problem>({
    queryKey: key,
    queryFn: fetch,
    refetchInterval: connected ? false : unconnectedPoll,
    ...options,
  });
}

/** A list in pages: `items` of all pages loaded, `more` while there are further ones. */
export function usePages<T>(key: QueryKey, fetch: (cursor: string | undefined) => Promise<Page<T>>) {
  const connected = useConnected();
  const query = useInfiniteQuery<Page<T>, Problem, { pages: Page<T>[] }, QueryKey, string | undefined>({
    queryKey: key,
    queryFn: ({ pageParam }) => fetch(pageParam),
    initialPageParam: undefined,
    getNextPageParam: (page) => page.next_cursor || undefined,
    refetchInterval: connected ? false : unconnectedPoll,
  });
  return {
    items: query.data?.pages.flatMap((page) => page.items ?? []),
    error: query.error,
    refetch: query.refetch,
    more: query.hasNextPage,
    loadMore: () => void query.fetchNextPage(),
    loadingMore: query.isFetchingNextPage,
  };
}

interface ActionOptions<Result> {
  /** Keys that the action has made stale; everything when not given. */
  stale?: QueryKey[];
  /** Said to the person when it worked. */
  success?: string;
  onSuccess?: (result: Result) => void;
  /** The caller shows the problem itself. */
  quiet?: boolean;
}

/** Something a person does: refreshes what it changed, says that it worked, and says why when it did not. */
export function useAction<Input = void, Result = unknown>(
  run: (input: Input) => Promise<Result>,
  options: ActionOptions<Result> = {},
) {
  const client = useQueryClient();
  return useMutation<Result, Problem, Input>({
    mutationFn: (input) =>
      run(input).catch((error: unknown) => {
        throw asProblem(error);
      }),
    onSuccess: (result) => {
      if (options.stale) for (const queryKey of options.stale) void client.invalidateQueries({ queryKey });
      else void client.invalidateQueries();
      if (options.success) say({ tone: 'good', text: options.success });
      options.onSuccess?.(result);
    },
    onError: (problem) => {
      if (!options.quiet) say({ tone: 'bad', problem });
    },
  });
}
