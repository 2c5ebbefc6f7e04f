export { createAgent } from './agent.ts';
export type { Agent, AgentDeps, KeyOffers } from './deps.ts';
