export { createAgent } from './agent.ts';
export type { Agent, AgentDeps } from './deps.ts';
