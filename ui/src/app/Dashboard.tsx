import '@kit/ui/styles';
import { asProblem } from '@kit/api/problem';
import { theme } from '@kit/ui/theme';
import { MantineProvider } from '@mantine/core';
import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { signInPath } from '../features/identity/doors';
import { router } from './router';

const tries = 2;

const client = new QueryClient({
  queryCache: new QueryCache({
    // A session that ended shows on any query: back to the door, and afterwards here again.
    onError: (error) => {
      if (asProblem(error).status === 401) location.assign(signInPath(location.pathname + location.search));
    },
  }),
  defaultOptions: {
    // Always: a browser that believes to be offline (the panel may be on this very machine) must not hold requests back.
    mutations: { networkMode: 'always' },
    queries: {
      networkMode: 'always',
      staleTime: 5000,
      retry: (failures, error) => {
        const { status } = asProblem(error);
        return failures < tries && (status === 0 || status >= 500);
      },
    },
  },
});

/** Everything behind the sign-in. */
export function Dashboard() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  );
}
